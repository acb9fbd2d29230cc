"""The router: joins events with hooks, and writes a delivery for each hook."""
