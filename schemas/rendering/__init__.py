"""Avro values as JSON: their bytes, the JSON Schema of these, and examples."""
