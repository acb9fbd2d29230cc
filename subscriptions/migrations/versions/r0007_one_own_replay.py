"""One replay at a time of a client's own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    unfinished = sa.text("own AND state IN ('counting', 'planned', 'running', 'paused')")
    op.create_index(
        "ux_replays_own_unfinished",
        "replays",
        ["client"],
        unique=True,
        postgresql_where=unfinished,
        sqlite_where=unfinished,
    )


def downgrade() -> None:
    """Go back to the one before."""
    op.drop_index("ux_replays_own_unfinished", "replays")
