"""Holders of service accounts' secrets, and reservations of storage"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("clients", schema=None) as batch_op:
        batch_op.add_column(sa.Column("holders", sa.JSON(), nullable=True))
    op.create_table(
        "storage_reservations",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("team_id", sa.String(length=63), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_storage_reservations")),
    )
    with op.batch_alter_table("storage_reservations", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_storage_reservations_team_id"), ["team_id"], unique=False)


def downgrade() -> None:
    op.drop_table("storage_reservations")
    with op.batch_alter_table("clients", schema=None) as batch_op:
        batch_op.drop_column("holders")
