"""Compacted topics that routers, workers and operations read whole: hooks, and endpoint settings."""
