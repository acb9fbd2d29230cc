"""A deployment of real parts under faults from a seed, its history, and the checker that reads the history."""
