"""Indexes for lists that are short in tables that are long."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_OF_HOOK = ["hook_id", "started_at_ms", "id"]


def _partial(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, postgresql_where=where, sqlite_where=where)


def upgrade() -> None:
    """Go to this revision."""
    _partial("ix_subscription_keys_living", "subscription_keys", ["hook_id"], "state <> 'deleted'")
    _partial("ix_subscription_keys_event", "subscription_keys", ["event", "hook_id"], "state <> 'deleted'")
    _partial("ix_subscription_keys_disabled", "subscription_keys", ["hook_id"], "state = 'disabled'")
    _partial("ix_attempts_hook_successes", "attempts", _OF_HOOK, "result = 'delivered'")
    op.drop_index("ix_attempts_hook", "attempts")


def downgrade() -> None:
    """Go back to the one before."""
    op.create_index("ix_attempts_hook", "attempts", _OF_HOOK)
    op.drop_index("ix_attempts_hook_successes", "attempts")
    for name in ("disabled", "event", "living"):
        op.drop_index(f"ix_subscription_keys_{name}", "subscription_keys")
