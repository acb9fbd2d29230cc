"""The roles: processes that run until they are stopped, and what each is composed of."""
