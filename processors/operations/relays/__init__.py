"""From the database to Kafka and back: hooks, endpoint settings, notices about hooks, a service's outbox."""
