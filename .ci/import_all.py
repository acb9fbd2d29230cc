"""Imports what is installed of hookstream, as the image is built: bytecode of that alone is kept, and it all loads."""

from __future__ import annotations

import importlib
import pkgutil

import hookstream

# For pytest, which an image has not; run by Alembic; a program.
LEFT_OUT = ("pytest_plugin", "migrations.env", "__main__")
# What is loaded when it is asked for.
LATER = ("psycopg", "sqlalchemy.dialects.postgresql.psycopg")

found = (module.name for module in pkgutil.walk_packages(hookstream.__path__, "hookstream."))
for name in (*LATER, *(name for name in found if not name.endswith(LEFT_OUT))):
    importlib.import_module(name)
