"""When tokens were used last; the audit can be listed by each of its filters."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_INDEXES = {"at": [], "client": ["client"], "hook": ["hook_id"], "actor": ["actor"], "action": ["action"]}
_EARLIER = ("at_ms", "hook_id")


def upgrade() -> None:
    """Go to this revision."""
    op.add_column("tokens", sa.Column("last_used_at_ms", sa.BigInteger(), nullable=True))
    for column in _EARLIER:
        op.drop_index(f"ix_audit_{column}", "audit")
    for name, columns in _INDEXES.items():
        op.create_index(f"ix_audit_{name}", "audit", [*columns, "at_ms", "id"])


def downgrade() -> None:
    """Go back to the one before."""
    for name in _INDEXES:
        op.drop_index(f"ix_audit_{name}", "audit")
    for column in _EARLIER:
        op.create_index(f"ix_audit_{column}", "audit", [column])
    with op.batch_alter_table("tokens") as batch:
        batch.drop_column("last_used_at_ms")
