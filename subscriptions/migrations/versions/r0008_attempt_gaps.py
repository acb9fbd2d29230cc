"""What the attempt log does not know of, by client."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "attempt_gaps",
        sa.Column("client", sa.BigInteger(), autoincrement=False, primary_key=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("first_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_at_ms", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    """Go back to the one before."""
    op.drop_table("attempt_gaps")
