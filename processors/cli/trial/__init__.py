"""`hookstream demo` and `hookstream up`: every role in one process on embedded parts, for trying things out."""
