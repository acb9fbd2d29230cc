"""Deliveries become requests: an engine that does no I/O decides, and the worker runs it."""
