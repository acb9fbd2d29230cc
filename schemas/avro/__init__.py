"""The Avro schemas this release ships, one per namespace and one per internal topic."""
