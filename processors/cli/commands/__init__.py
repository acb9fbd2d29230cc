"""Commands that a person or a script runs once; one module a command group."""
