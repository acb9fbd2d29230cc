"""Notices about hooks that Kafka has not acknowledged yet."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ID_TEXT = sa.String(255).with_variant(sa.String(255, collation="C"), "postgresql")


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "notices",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("client", _ID_TEXT, nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("hook_id", sa.BigInteger(), nullable=False),
        sa.Column("hook_event", sa.Text(), nullable=False),
        sa.Column("reason", sa.String(16), nullable=True),
    )


def downgrade() -> None:
    """Go back to the one before."""
    op.drop_table("notices")
