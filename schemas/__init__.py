"""What the bytes mean: values, Avro codecs, event catalogue. No I/O, no clock, no module state."""
