"""What Alembic runs for each command, on the connection that `migrate` opened."""

from __future__ import annotations

from alembic import context

from hookstream.subscriptions.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
