"""Compacted topics that routers, workers and operations read whole: hooks, and operators' settings for endpoints."""
