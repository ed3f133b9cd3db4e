"""Hourly shops with a daily rhythm and a promotion that is known in advance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from cluster.settings import Settings
from quantis.types.datasets import DatasetSpec

TEAM = "default"
HOURS = 24 * 28


def shop(number: int, rng: np.random.Generator, promotion: float = 1.0, begins: int = 0) -> dict[str, Any]:
    """The columns of one shop, whose promotion is known for a day beyond its last value."""
    hours = np.arange(begins, HOURS + 24)
    promo = (rng.random(len(hours)) < 0.3).astype(float)
    rhythm = 2 + np.sin(hours / 24 * 2 * np.pi) + promotion * promo
    y = (20 + 5 * number) * rhythm + rng.normal(0, 3, len(hours))
    return {
        "unique_id": [f"shop{number:02}"] * len(hours),
        "ds": np.datetime64("2024-01-01", "us") + hours * np.timedelta64(1, "h"),
        "y": pa.array(np.where(hours < HOURS, y, np.nan), from_pandas=True),
        "promo": promo,
    }


def stored(spec: DatasetSpec, table: pa.Table) -> Settings:
    """Settings of this environment whose platform holds the dataset."""
    settings = Settings()
    settings.data_layout.prepare()
    database = Database(settings.sql_url)
    database.migrate()
    catalogue = Catalogue(database, settings.data_layout)
    catalogue.datasets.create(TEAM, "ann", spec)
    catalogue.ingest(TEAM, "ann", spec.name, table, f"{spec.name}.parquet")
    return settings
