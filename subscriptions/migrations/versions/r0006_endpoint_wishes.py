"""What operators want of endpoints."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "endpoint_wishes",
        sa.Column("client", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("target_digest", sa.String(16), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("skip_before_ms", sa.BigInteger(), nullable=False),
        sa.Column("retry_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("skipped", sa.JSON(), nullable=False),
        sa.Column("asked_by", sa.String(250), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("drained_by", sa.String(250), nullable=False),
        sa.Column("drain_reason", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("published_revision", sa.BigInteger(), nullable=False),
        sa.Column("published_partition", sa.Integer(), nullable=True),
        sa.Column("published_offset", sa.BigInteger(), nullable=True),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("revision >= published_revision", name="revision"),
        sa.PrimaryKeyConstraint("client", "target_digest"),
    )
    op.create_index(
        "ix_endpoint_wishes_pending",
        "endpoint_wishes",
        ["updated_at_ms"],
        postgresql_where=sa.text("revision > published_revision"),
        sqlite_where=sa.text("revision > published_revision"),
    )


def downgrade() -> None:
    """Go back to the one before."""
    op.drop_index("ix_endpoint_wishes_pending", "endpoint_wishes")
    op.drop_table("endpoint_wishes")
