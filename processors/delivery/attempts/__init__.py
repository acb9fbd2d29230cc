"""What is recorded of an attempt: a record for the attempt log, a line of log, a span."""
