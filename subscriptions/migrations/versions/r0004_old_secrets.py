"""Until when a hook's old secrets sign beside its new one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.add_column("slots", sa.Column("old_secrets_until_ms", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_slots_old_secrets",
        "slots",
        ["old_secrets_until_ms"],
        postgresql_where=sa.text("old_secrets_until_ms IS NOT NULL"),
        sqlite_where=sa.text("old_secrets_until_ms IS NOT NULL"),
    )


def downgrade() -> None:
    """Go back to the one before."""
    op.drop_index("ix_slots_old_secrets", "slots")
    op.drop_column("slots", "old_secrets_until_ms")
