"""Covariates as they were forecast: rows that were known before their time are about the future only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from quantis.panel import TIMESTAMP
from quantis.types.datasets import DatasetSpec, Roles
from quantis.validation.panel_check import check_panel

START = datetime(2024, 1, 1, tzinfo=UTC)
SPEC = DatasetSpec(
    name="grid", freq="h", roles=Roles(futr_exog=("wind",)), publication_lag=timedelta(hours=2)
)


def hour(step: int | None) -> datetime | None:
    return None if step is None else START + timedelta(hours=step)


def checked(rows: list[tuple[int, float | None, float | None, int | None]]) -> tuple[object, object]:
    """Rows are ds, y, wind, known_at, in hours after the start."""
    ds, y, wind, known = zip(*rows, strict=True)
    table = pa.table(
        {
            "unique_id": ["a"] * len(rows),
            "ds": pa.array([hour(step) for step in ds], TIMESTAMP),
            "y": pa.array(y, pa.float64()),
            "wind": pa.array(wind, pa.float64()),
            "known_at": pa.array([hour(step) for step in known], TIMESTAMP),
        }
    )
    return check_panel(table, SPEC, file="grid.csv")


HISTORY = [(step, float(step), 5.0, None) for step in range(6)]


def future(panel: object) -> list[tuple[datetime, float | None, datetime | None]]:
    rows = panel.future.to_pylist()  # type: ignore[attr-defined]
    return [(row["ds"], row["wind"], row["known_at"]) for row in rows]


def test_when_a_covariate_was_forecast_several_times_then_every_forecast_is_kept() -> None:
    report, panel = checked(
        [*HISTORY, (3, None, 7.0, -21), (3, None, 6.0, 1), (7, None, 8.0, 0), (7, None, 9.0, 3)]
    )
    assert report.outcome != "reject"  # type: ignore[attr-defined]
    found = future(panel)
    assert [(wind, known) for ds, wind, known in found if ds == hour(7)] == [(8.0, hour(0)), (9.0, hour(3))]
    assert sorted((wind, known) for ds, wind, known in found if ds == hour(3)) == [
        (5.0, hour(5)),  # measured: known when the observation was
        (6.0, hour(1)),
        (7.0, hour(-21)),
    ]
    assert [(wind, known) for ds, wind, known in found if ds == hour(2)] == [(5.0, None)]
    assert panel.target.num_rows == 6  # type: ignore[attr-defined]
    assert panel.target["y"].to_pylist() == [float(step) for step in range(6)]  # type: ignore[attr-defined]


def test_when_an_observation_is_known_before_it_happens_then_it_is_still_a_fault() -> None:
    report, _ = checked([*HISTORY[:5], (5, 5.0, 5.0, 1)])
    assert "D024" in [finding.code for finding in report.findings]  # type: ignore[attr-defined]
