"""Ids of clients and resources are text; tables are called what the documents call them.

What is copied or changed keeps its values: a client 434 is the text `434`.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# Text is compared by code points, as SQLite and Python do.
_ID = sa.String(255).with_variant(sa.String(255, collation="C"), "postgresql")
_COLUMNS = {
    "slots": ("client",),
    "tokens": ("client",),
    "idempotency_keys": ("client",),
    "audit": ("client",),
    "attempts": ("client", "concept_id"),
    "attempt_gaps": ("client",),
    "replays": ("client", "concept_id"),
    "endpoint_wishes": ("client",),
}
_RENAMED = {"slots": "subscription_keys", "endpoint_wishes": "endpoint_settings"}
_CHECKS = {
    "slots": {"state": "state IN ('enabled', 'disabled', 'deleted')", "revision": "revision >= published_revision"},
    "endpoint_wishes": {"revision": "revision >= published_revision"},
}
_KEYS = {"slots": ["client", "event"], "endpoint_wishes": ["client", "target_digest"]}
_PENDING = sa.text("revision > published_revision")
_DELETED = sa.text("state = 'deleted' AND NOT tombstoned")
_OLD_SECRETS = sa.text("old_secrets_until_ms IS NOT NULL")


def upgrade() -> None:
    """Go to this revision."""
    for table, columns in _COLUMNS.items():
        with op.batch_alter_table(table) as batch:
            for column in columns:
                batch.alter_column(column, type_=_ID, postgresql_using=f"{column}::varchar")
    for old, new in _RENAMED.items():
        _rename(old, new, of=old)


def downgrade() -> None:
    """Go back to the one before.

    Raises:
        ValueError: an id is no integer.
    """
    for old, new in _RENAMED.items():
        _rename(new, old, of=old)
    for table, columns in _COLUMNS.items():
        for column in columns:
            _check_integers(table, column)
        with op.batch_alter_table(table) as batch:
            for column in columns:
                batch.alter_column(column, type_=sa.BigInteger(), postgresql_using=f"{column}::bigint")


def _rename(before: str, after: str, *, of: str) -> None:
    """Rename a table, its indexes and its constraints; `of` is what it was called at first."""
    for name in _indexes(of):
        op.drop_index(f"ix_{before}_{name}", before)
    op.rename_table(before, after)
    for name, (column, where) in _indexes(of).items():
        op.create_index(f"ix_{after}_{name}", after, [column], postgresql_where=where, sqlite_where=where)
    constraints = ["pk", *(f"ck_{name}" for name in _CHECKS[of]), *(["uq_hook_id"] if of == "slots" else [])]
    if op.get_bind().dialect.name == "postgresql":
        for constraint in constraints:
            kind, _, name = constraint.partition("_")
            rest = f"_{name}" if name else ""
            op.execute(f"ALTER TABLE {after} RENAME CONSTRAINT {kind}_{before}{rest} TO {kind}_{after}{rest}")
        return
    with op.batch_alter_table(after) as batch:  # SQLite makes the table anew
        batch.create_primary_key(op.f(f"pk_{after}"), _KEYS[of])
        for name, condition in _CHECKS[of].items():
            batch.drop_constraint(op.f(f"ck_{before}_{name}"), type_="check")
            batch.create_check_constraint(op.f(f"ck_{after}_{name}"), sa.text(condition))
        if of == "slots":
            batch.drop_constraint(op.f(f"uq_{before}_hook_id"), type_="unique")
            batch.create_unique_constraint(op.f(f"uq_{after}_hook_id"), ["hook_id"])


def _indexes(table: str) -> dict[str, tuple[str, sa.TextClause]]:
    pending = {"pending": ("updated_at_ms", _PENDING)}
    if table != "slots":
        return pending
    deleted, old = ("updated_at_ms", _DELETED), ("old_secrets_until_ms", _OLD_SECRETS)
    return pending | {"tombstones": deleted, "old_secrets": old}


def _check_integers(table: str, column: str) -> None:
    """Check that every id is an integer: SQLite would write 0 for another, and two clients would be one."""
    is_other = f"{column} !~ '^(0|[1-9][0-9]{{0,17}})$'"
    if op.get_bind().dialect.name == "sqlite":
        is_other = f"{column} GLOB '*[^0-9]*' OR {column} GLOB '0?*' OR length({column}) NOT BETWEEN 1 AND 18"
    if op.get_bind().scalar(sa.text(f"SELECT count(*) FROM {table} WHERE {is_other}")):  # noqa: S608  # no input
        msg = f"{table}.{column} holds ids that are no integers; the revision before this one cannot keep them"
        raise ValueError(msg)
