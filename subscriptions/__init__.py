"""Who wants what, where, with which secret, and what became of it: hookstream's database and the thin API."""
