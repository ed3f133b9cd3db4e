"""Counters of work in the background, purges, and the severities and events that channels of alerts take"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "work_counters",
        sa.Column("team_id", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=63), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("team_id", "name", "subject", name=op.f("pk_work_counters")),
    )
    op.create_table(
        "purges",
        sa.Column("team_id", sa.String(length=63), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("dataset", sa.String(length=63), nullable=False),
        sa.Column("series", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("team_id", "id", name=op.f("pk_purges")),
    )
    with op.batch_alter_table("alert_channels", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("severity", sa.String(length=20), server_default="info", nullable=False)
        )
        batch_op.add_column(sa.Column("events", sa.JSON(), server_default="[]", nullable=False))
        batch_op.add_column(sa.Column("events_since", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("alert_channels", schema=None) as batch_op:
        for column in ("events_since", "events", "severity"):
            batch_op.drop_column(column)
    op.drop_table("purges")
    op.drop_table("work_counters")
