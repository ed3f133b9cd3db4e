"""`python -m cluster.migrate`: make the data folder and the newest schema, before anything else starts."""

from __future__ import annotations

from cluster.database.engine import Database
from cluster.settings import Settings


def main() -> None:
    settings = Settings()
    settings.data_layout.prepare()
    database = Database(settings.sql_url)
    database.migrate()
    database.close()


if __name__ == "__main__":
    main()
