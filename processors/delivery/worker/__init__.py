"""The worker process: puts itself together, runs the engines of its partitions, sends requests, commits."""
