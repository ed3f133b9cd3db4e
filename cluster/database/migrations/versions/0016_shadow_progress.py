"""The place that the shadow forecasts of each experiment reached in the ledger"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "shadow_progress",
        sa.Column("team_id", sa.String(length=63), nullable=False),
        sa.Column("experiment_id", sa.String(length=36), nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=False),
        sa.Column("forecast_id", sa.String(length=36), nullable=False),
        sa.Column("progress", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("team_id", "experiment_id", name=op.f("pk_shadow_progress")),
    )


def downgrade() -> None:
    op.drop_table("shadow_progress")
