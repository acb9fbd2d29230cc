"""What keeps a deployment running beside the hot path: relays, topics, the embedded stack."""
