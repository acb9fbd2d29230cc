"""The attempt log, and how far it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "attempts",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("hook_id", sa.BigInteger(), nullable=False),
        sa.Column("hook_revision", sa.BigInteger(), nullable=False),
        sa.Column("client", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("concept_id", sa.BigInteger(), nullable=False),
        sa.Column("delivery_partition", sa.Integer(), nullable=False),
        sa.Column("delivery_offset", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("probe", sa.Boolean(), nullable=False),
        sa.Column("replay", sa.Text(), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.Float(53), nullable=False),
        sa.Column("result", sa.String(20), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("logged_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
        sa.UniqueConstraint(
            "delivery_id",
            "started_at_ms",
            "number",
            "delivery_partition",
            "delivery_offset",
            "replay",
            name="uq_attempts_identity",
        ),
    )
    by_hook = ["hook_id", "started_at_ms", "id"]
    op.create_index("ix_attempts_hook", "attempts", by_hook)
    failures = sa.text("result <> 'delivered'")
    op.create_index("ix_attempts_hook_failures", "attempts", by_hook, postgresql_where=failures, sqlite_where=failures)
    op.create_table(
        "attempt_log",
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("topic_id", sa.String(40), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column("appended_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("covers_from_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partition", name="pk_attempt_log"),
    )


def downgrade() -> None:
    """Go back to the one before."""
    op.drop_table("attempt_log")
    op.drop_table("attempts")
