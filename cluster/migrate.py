"""`python -m cluster.migrate`: bring the database to the newest schema, before anything else starts."""

from __future__ import annotations

from cluster.database.engine import Database
from cluster.settings import Settings


def main() -> None:
    database = Database(Settings().sql_url)
    database.migrate()
    database.close()


if __name__ == "__main__":
    main()
