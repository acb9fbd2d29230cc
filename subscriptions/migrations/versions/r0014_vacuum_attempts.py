"""Vacuum the attempts where one in a hundred is dead: retention deletes the oldest, which every look at them passes."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    if op.get_context().dialect.name == "postgresql":
        # By default one in five: of 50 million rows those of six days, at the end where the oldest are looked for.
        op.execute("ALTER TABLE attempts SET (autovacuum_vacuum_scale_factor = 0.01)")


def downgrade() -> None:
    """Go back to the one before."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER TABLE attempts RESET (autovacuum_vacuum_scale_factor)")
