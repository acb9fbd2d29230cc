"""The delivery engine of one partition: what is sent when, and what an answer means. Pure: no I/O, no clock."""
