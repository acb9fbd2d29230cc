"""Replays."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "replays",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("created_by", sa.String(250), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("own", sa.Boolean(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("to_ms", sa.BigInteger(), nullable=False),
        sa.Column("client", sa.BigInteger(), nullable=True),
        sa.Column("hook_id", sa.BigInteger(), nullable=True),
        sa.Column("event", sa.Text(), nullable=True),
        sa.Column("namespace", sa.Text(), nullable=True),
        sa.Column("concept_id", sa.BigInteger(), nullable=True),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("selection", sa.String(16), nullable=False),
        sa.Column("rate_per_s", sa.Float(53), nullable=False),
        sa.Column("endpoint_rate_per_s", sa.Float(53), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("stretches", sa.JSON(), nullable=True),
        sa.Column("left_from_ms", sa.BigInteger(), nullable=True),
        sa.Column("matched", sa.BigInteger(), nullable=True),
        sa.Column("hooks", sa.JSON(), nullable=True),
        sa.Column("hook_count", sa.BigInteger(), nullable=True),
        sa.Column("estimate_s", sa.Float(53), nullable=True),
        sa.Column("scanned", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.Column("expired", sa.BigInteger(), nullable=False),
        sa.Column("unreadable", sa.BigInteger(), nullable=False),
        sa.Column("lease_owner", sa.String(40), nullable=True),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_replays"),
        sa.CheckConstraint(
            "state IN ('counting', 'planned', 'running', 'paused', 'done', 'cancelled', 'failed')",
            name=op.f("ck_replays_state"),
        ),
    )
    op.create_index("ix_replays_client", "replays", ["client"])
    work = sa.text("state IN ('counting', 'running')")
    op.create_index("ix_replays_work", "replays", ["id"], postgresql_where=work, sqlite_where=work)


def downgrade() -> None:
    """Go back to the one before."""
    op.drop_table("replays")
