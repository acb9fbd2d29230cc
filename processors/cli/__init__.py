"""The command line: one module a command group, and the only package that composes the others."""
