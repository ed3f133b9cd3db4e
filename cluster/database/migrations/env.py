"""Runs the migrations on the URL that the caller put into the configuration."""

from typing import Any, Literal

from alembic import context

from cluster.database.engine import Database
from cluster.database.tables import Base, UtcDateTime


def _render(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """Keep our own types out of the migrations, which must outlive them."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


database = Database(context.config.attributes["url"])
with database.engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        compare_type=True,
        render_item=_render,
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
database.close()
