"""Records of topics that others write, read as events: what `sources.toml` says, and what a record is by that."""
