"""Sessions of the portal, and links that open one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_ID = sa.String(255).with_variant(sa.String(255, collation="C"), "postgresql")
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "portal_links",
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("token_id", sa.BigInteger(), nullable=False),
        sa.Column("client", _ID, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_portal_links"),
    )
    op.create_index("ix_portal_links_expires_at_ms", "portal_links", ["expires_at_ms"])
    op.create_table(
        "portal_sessions",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("token_id", sa.BigInteger(), nullable=False),
        sa.Column("client", _ID, nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_portal_sessions"),
        sa.UniqueConstraint("hash", name="uq_portal_sessions_hash"),
    )
    op.create_index("ix_portal_sessions_expires_at_ms", "portal_sessions", ["expires_at_ms"])


def downgrade() -> None:
    """Go back to the one before."""
    op.drop_table("portal_sessions")
    op.drop_table("portal_links")
