"""One partition of a worker, and what it works with: schemas, reading for cursors, dead letters, notices."""
