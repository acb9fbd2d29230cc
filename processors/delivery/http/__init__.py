"""Posts one request to a target: its name resolved, its address checked, its answer bounded. Knows no Kafka."""
