"""The worker process: polls Kafka, runs the engines of its partitions, sends requests, commits."""
