"""The values of `schemas` as Kafka record values, both ways.

Each function of these modules builds a coder once, with everything it needs bound; the coder itself is a plain
function, called per record, from any thread. Encoders raise `InvalidValueError`. Decoders raise `UndecodableError`
where the bytes are no such value, never with a word of their content, and let through what `writer_schemas` raises for
other reasons.
"""
