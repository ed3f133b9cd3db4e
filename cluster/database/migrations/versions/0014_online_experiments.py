"""Online experiments: a challenger beside the champion, its assessments, and what the versions did"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "online_experiments",
        sa.Column("team_id", sa.String(length=63), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("challenger", sa.Integer(), nullable=False),
        sa.Column("incumbent", sa.Integer(), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("author", sa.JSON(), nullable=False),
        sa.Column("created_by", sa.String(length=63), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("traffic", sa.Integer(), nullable=False),
        sa.Column("promoting", sa.Boolean(), nullable=False),
        sa.Column("approval", sa.String(length=36), nullable=True),
        sa.Column("assessments", sa.Integer(), nullable=False),
        sa.Column("latest", sa.JSON(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("step_started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("team_id", "id", name=op.f("pk_online_experiments")),
    )
    op.create_index("ix_online_experiments_state", "online_experiments", ["state"])
    op.create_index(
        "ix_online_experiments_team_id_started_at_id",
        "online_experiments",
        ["team_id", "started_at", "id"],
    )
    op.create_table(
        "experiment_assessments",
        sa.Column("team_id", sa.String(length=63), nullable=False),
        sa.Column("experiment_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("action", sa.String(length=20), nullable=False),
        sa.Column("assessment", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("team_id", "experiment_id", "number", name=op.f("pk_experiment_assessments")),
    )
    op.create_table(
        "experiment_arms",
        sa.Column("team_id", sa.String(length=63), nullable=False),
        sa.Column("experiment_id", sa.String(length=36), nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("series", sa.Integer(), nullable=False),
        sa.Column("fallbacks", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint(
            "team_id", "experiment_id", "step", "version", "kind", name=op.f("pk_experiment_arms")
        ),
    )


def downgrade() -> None:
    for table in ("experiment_arms", "experiment_assessments", "online_experiments"):
        op.drop_table(table)
