"""Questions that the API asks of Kafka: the backlog, dead letters, one delivery, the broker's time."""
