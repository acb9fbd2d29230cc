"""The delivery engine: a sans-I/O core and the worker that drives it."""
