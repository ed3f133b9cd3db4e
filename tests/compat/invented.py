"""The invented data of the folder: shops with a plan, and doors with visits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np

FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
DAYS, AHEAD, H = 150, 10, 7
QUANTILES = (0.1, 0.5, 0.9)
CORRECTED = "2024-05-20T00:00:00Z"
BEFORE, AFTER, END = "2024-05-19T00:00:00Z", "2024-05-21T00:00:00Z", "2024-05-30T00:00:00Z"
AS_OF = datetime(2024, 5, 30, tzinfo=UTC)
SHOPS = ("north/a", "north/b", "north/c", "south/a", "south/å b")
GAP, YOUNG, OLD = "gap/g", "young/y", "old/o"
ROLES = {"futr_exog": ["plan"], "hist_exog": ["visitors"], "stat_exog": ["region"], "categorical": ["region"]}
SPEC = {"name": "shops", "roles": ROLES, "freq": "D", "publication_lag": "PT6H", "holidays": "FR"}


def rows(name: str, level: float, days: range, ahead: int, rng: np.random.Generator) -> Iterator[str]:
    """CSV lines of one shop: its plan is known in advance and mostly right, its visitors afterwards."""
    for day in range(days.start, days.stop + ahead):
        ds = FIRST_DAY + timedelta(days=day)
        plan = level * (1 + 0.3 * np.sin(day / 7 * 2 * np.pi)) * rng.choice([1.0, 1.6], p=[0.8, 0.2])
        y, visitors = plan * rng.uniform(0.85, 1.1), plan * rng.uniform(2, 3)
        seen = f"{y:.1f},{visitors:.0f}" if day < days.stop else ","
        yield f"{name},{ds:%Y-%m-%d},{seen},{plan:.0f},{name.partition('/')[0]}\n"


def shops() -> str:
    """Five good series; one without a plan ahead, one that is young, one that ended long ago."""
    rng = np.random.default_rng(11)
    found = ["unique_id,ds,y,visitors,plan,region\n"]
    for number, name in enumerate(SHOPS):
        found += rows(name, 20.0 + 15 * number, range(DAYS), AHEAD, rng)
    found += rows(GAP, 30.0, range(DAYS), 0, rng)
    found += rows(YOUNG, 40.0, range(DAYS - 20, DAYS), AHEAD, rng)
    found += rows(OLD, 50.0, range(-330, -270), 0, rng)
    return "".join(found)


def correction() -> str:
    """A week of one series that was counted anew on the twentieth of May."""
    found = ["unique_id,ds,y,visitors,plan,region,known_at\n"]
    for day in range(131, 138):
        ds = FIRST_DAY + timedelta(days=day)
        found.append(f"{SHOPS[0]},{ds:%Y-%m-%d},{60 + day % 7}.5,{150 + day},20,north,{CORRECTED}\n")
    return "".join(found)


def visits(name: str, level: int) -> str:
    lines = [f"{name},{FIRST_DAY + timedelta(days=day):%Y-%m-%d},{level + day % 7}\n" for day in range(30)]
    return "unique_id,ds,y\n" + "".join(lines)
