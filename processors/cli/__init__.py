"""The command line: one module a command group, and the only place that composes the rooms."""
