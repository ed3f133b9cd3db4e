"""The occasion on which a forecast was issued, and the batch in which it went to the table of vintages"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("forecasts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("kind", sa.String(length=10), server_default="online", nullable=False))
        batch_op.add_column(sa.Column("batch", sa.BigInteger(), nullable=True))
        batch_op.create_index("ix_forecasts_batch", ["batch"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("forecasts", schema=None) as batch_op:
        batch_op.drop_index("ix_forecasts_batch")
        batch_op.drop_column("batch")
        batch_op.drop_column("kind")
