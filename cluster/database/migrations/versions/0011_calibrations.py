"""Adaptive calibration: states by version of a model, and models for which it is off"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "calibrations",
        sa.Column("team_id", sa.String(length=63), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("applied", sa.Boolean(), nullable=False),
        sa.Column("scored_to", _TIME, nullable=True),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("team_id", "model", "version", "number", name=op.f("pk_calibrations")),
    )
    op.create_table(
        "calibration_switches",
        sa.Column("team_id", sa.String(length=63), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("changed_at", _TIME, nullable=False),
        sa.Column("changed_by", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("team_id", "model", name=op.f("pk_calibration_switches")),
    )


def downgrade() -> None:
    op.drop_table("calibration_switches")
    op.drop_table("calibrations")
