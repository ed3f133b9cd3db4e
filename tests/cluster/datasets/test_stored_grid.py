"""Values off the grid of their series' stored ones are refused, in uploads, files of an import and appends."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from cluster.data_layout import DataLayout
from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from features.store.snapshots import snapshot_of_latest
from features.store.stored_grid import stored_spans
from quantis.errors import RejectedPanel
from quantis.panel import TIMESTAMP, Panel
from quantis.types.datasets import DatasetSpec, Roles
from quantis.types.observations import ObservedSeries
from quantis.validation.observations import panel_from_observations
from quantis.validation.panel_check import check_panel

LATER = datetime(2100, 1, 1, tzinfo=UTC)
START = datetime(2024, 1, 1, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def catalogue(tmp_path: Path, migrated_sqlite: Path) -> Iterator[Catalogue]:
    shutil.copy(migrated_sqlite, tmp_path / "quantis.db")
    database = Database(f"sqlite:///{tmp_path / 'quantis.db'}")
    yield Catalogue(database, DataLayout(tmp_path / "data"))
    database.close()


def declare(catalogue: Catalogue, **fields: object) -> None:
    catalogue.datasets.create("default", "ada", DatasetSpec.model_validate({"name": "sales", **fields}))


def table(ds: Sequence[object], name: str = "a") -> pa.Table:
    rows = len(ds)
    return pa.table({"unique_id": [name] * rows, "ds": ds, "y": [float(row % 7) for row in range(rows)]})


def push(catalogue: Catalogue, ds: Sequence[object], name: str = "a") -> int:
    return catalogue.ingest("default", "ada", "sales", table(ds, name), "sales.csv").version.rows


def append(catalogue: Catalogue, ds: Sequence[datetime], name: str = "a", price: float | None = None) -> bool:
    spec = catalogue.declared_spec("default", "sales")
    values = {"y": [1.0] * len(ds)} if price is None else {"futr_exog": {"price": [price] * len(ds)}}
    observed = {"unique_id": name, "ds": list(ds), **values}
    panel = panel_from_observations([ObservedSeries.model_validate(observed)], spec)
    return catalogue.append("default", "ada", "sales", panel).created


def times(first: datetime, count: int, **step: int) -> list[datetime]:
    return [first + number * timedelta(**step) for number in range(count)]


def months(first: datetime, count: int) -> list[datetime]:
    return [
        first.replace(year=first.year + (first.month - 1 + n) // 12, month=(first.month - 1 + n) % 12 + 1)
        for n in range(count)
    ]


def observed_in_snapshot(catalogue: Catalogue) -> int:
    """Count the values that a model would be given."""
    opened = catalogue.open("default", "sales")
    task = opened.task(LATER, 1, (0.5,))
    history = snapshot_of_latest(opened.panel(LATER), np.datetime64("2100-01-01", "us"), task).history
    return len(history) - int(history["y"].null_count)


GRIDS = {
    "daily, six hours later": ("D", times(START, 60, days=1), START + timedelta(days=60, hours=6)),
    "weekly, on another weekday": (None, times(START, 30, weeks=1), START + timedelta(days=211)),
    "monthly, in its middle": ("MS", months(START, 24), datetime(2026, 1, 15, tzinfo=UTC)),
    "quarterly, a month later": ("QS", months(START, 24)[::3], datetime(2026, 2, 1, tzinfo=UTC)),
    "hourly, at half past": ("h", times(START, 60, hours=1), START + timedelta(hours=60, minutes=30)),
    "quarter-hourly, a minute late": ("15min", times(START, 60, minutes=15), START + timedelta(minutes=901)),
    "business days, at a weekend": ("B", times(START, 5, days=1), datetime(2024, 1, 6, tzinfo=UTC)),
    "before the first": ("D", times(START, 60, days=1), START - timedelta(days=3, hours=1)),
    "within a gap": ("D", [*times(START, 10, days=1), START + timedelta(days=50)], START + timedelta(hours=500)),
}  # fmt: skip


@pytest.mark.parametrize("case", GRIDS)
@pytest.mark.parametrize("live", [False, True])
def test_when_a_later_value_is_off_the_stored_grid_then_it_is_refused_by_name(
    catalogue: Catalogue, case: str, live: bool
) -> None:
    freq, ds, late = GRIDS[case]
    declare(catalogue, freq=freq)
    push(catalogue, ds)
    with pytest.raises(RejectedPanel, match="nothing was stored") as caught:
        append(catalogue, [late]) if live else push(catalogue, [late])
    finding = next(finding for finding in caught.value.findings if finding.code == "D042")
    stored_freq = catalogue.open("default", "sales").version.freq
    if live or stored_freq not in ("W-MON", "B"):  # a file itself is off these days
        assert finding.series == "a"
        for part in (
            f"the first {late:%Y-%m-%dT%H:%M:%S}Z",
            f"steps of {stored_freq}",
            f"up to {ds[-1]:%Y-%m-%d}",
        ):
            assert part in finding.message
    assert catalogue.open("default", "sales").version.number == 1


def test_when_counted_steps_are_off_the_stored_grid_then_they_are_named_as_counts(
    catalogue: Catalogue,
) -> None:
    declare(catalogue)
    push(catalogue, list(range(100, 400, 10)))
    with pytest.raises(RejectedPanel, match="the first 405; its stored values are steps of 10 up to 390"):
        push(catalogue, [405, 415, 425])
    push(catalogue, [400, 410, 430])
    assert observed_in_snapshot(catalogue) == 33


@pytest.mark.parametrize(
    ("freq", "stored", "later"),
    [
        ("D", times(START, 60, days=1), times(START + timedelta(days=70), 5, days=2)),
        ("D", times(START, 60, days=1), times(START - timedelta(days=30), 5, days=1)),
        ("W", times(START, 30, weeks=1), [START + timedelta(weeks=40), START - timedelta(weeks=3)]),
        ("MS", months(START, 24), [datetime(2020, 5, 1, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC)]),
        ("ME", [datetime(2024, 1, 31, tzinfo=UTC)], [datetime(2024, 2, 29, tzinfo=UTC)]),
        ("B", times(START, 5, days=1), [datetime(2024, 1, 8, tzinfo=UTC), datetime(2023, 12, 29, tzinfo=UTC)]),
        ("h", times(START, 60, hours=1), times(START + timedelta(hours=500), 3, hours=7)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("live", [False, True])
def test_when_values_on_the_grid_come_after_gaps_or_before_the_first_then_all_are_used(
    catalogue: Catalogue, freq: str, stored: list[datetime], later: list[datetime], live: bool
) -> None:
    declare(catalogue, freq=freq)
    push(catalogue, stored)
    append(catalogue, sorted(later)) if live else push(catalogue, sorted(later))
    assert observed_in_snapshot(catalogue) == len(stored) + len(later)


@pytest.mark.parametrize("live", [False, True])
def test_when_a_series_is_new_then_it_brings_its_own_grid(catalogue: Catalogue, live: bool) -> None:
    declare(catalogue)
    push(catalogue, times(START, 30, days=1))
    other = times(START + timedelta(hours=6), 30, days=1)
    append(catalogue, other, "b") if live else push(catalogue, other, "b")
    assert observed_in_snapshot(catalogue) == 60


def test_when_a_new_series_is_appended_off_its_own_grid_then_it_is_refused(catalogue: Catalogue) -> None:
    declare(catalogue, freq="D")
    with pytest.raises(RejectedPanel, match=r"b has 1 times off the grid.*it begins at 2024-01-01T00:00:00Z"):
        append(catalogue, [START, START + timedelta(days=1), START + timedelta(hours=30)], "b")


def test_when_known_future_values_are_off_the_stored_grid_then_they_are_refused(catalogue: Catalogue) -> None:
    declare(catalogue, freq="D", roles=Roles(futr_exog=("price",)))
    append(catalogue, times(START, 9, days=1))
    with pytest.raises(RejectedPanel, match="the first 2024-01-10T01:00:00Z"):
        append(catalogue, times(START + timedelta(days=9, hours=1), 3, days=1), price=2.0)
    assert append(catalogue, times(START + timedelta(days=9), 3, days=1), price=2.0)


def test_when_a_berlin_winter_and_a_spring_come_in_two_files_then_they_lie_on_one_grid(
    catalogue: Catalogue,
) -> None:
    """The first has one offset, the second two."""
    declare(catalogue)
    days = [datetime(2024, 11, 1, tzinfo=BERLIN) + timedelta(days=day) for day in range(180)]
    for part in (days[:120], days[120:]):
        push(catalogue, pa.array(part, pa.timestamp("us", tz="Europe/Berlin")))
    assert observed_in_snapshot(catalogue) == 180


@pytest.mark.parametrize("hour", [0, 6])
@pytest.mark.parametrize("form", ["offset", "utc"])
@pytest.mark.parametrize("later", ["file", "append", "append one by one"])
def test_when_days_of_a_local_clock_go_on_across_its_change_then_they_stay_on_the_grid(
    catalogue: Catalogue, hour: int, form: str, later: str
) -> None:
    """Times in UTC are those of the dataset's zone; times with their offset show their own clock."""
    declare(catalogue, freq="D", time_zone="Europe/Berlin" if form == "utc" else "UTC")
    local = [datetime(2024, 3, 1, hour, tzinfo=BERLIN) + timedelta(days=day) for day in range(60)]
    zone = UTC if form == "utc" else BERLIN
    written = [time.astimezone(zone) for time in local]
    push(catalogue, [time.isoformat() for time in written[:20]])
    if later == "file":
        push(catalogue, [time.isoformat() for time in written[20:]])
    elif later == "append":
        append(catalogue, written[20:])
    else:
        for time in written[20:40:9]:
            append(catalogue, [time])
    panel = catalogue.open("default", "sales").panel(LATER)
    assert {time.hour for time in panel.target["ds"].to_pylist()} == {hour}
    assert observed_in_snapshot(catalogue) == panel.target.num_rows


def test_when_one_time_stands_too_far_apart_then_it_is_refused_with_what_it_asks_for(
    catalogue: Catalogue,
) -> None:
    declare(catalogue, freq="s")
    push(catalogue, times(START, 60, seconds=1))
    for stray in (datetime(1970, 1, 1, tzinfo=UTC), datetime(2025, 6, 1, tzinfo=UTC)):
        with pytest.raises(
            RejectedPanel, match=r"D049|lacks [\d,]+ steps of s between.*10,000,000"
        ) as caught:
            append(catalogue, [stray])
        assert [finding.code for finding in caught.value.findings] == ["D049"]


def test_when_a_file_is_checked_then_it_is_held_against_the_stored_grid_too(catalogue: Catalogue) -> None:
    declare(catalogue)
    push(catalogue, times(START, 30, days=1))
    spec = catalogue.declared_spec("default", "sales")
    for hour, outcome in ((6, "reject"), (0, "accept")):
        later = table(times(START + timedelta(days=30, hours=hour), 30, days=1))
        report, panel = check_panel(later, spec, file="later.csv")
        assert catalogue.check_grid("default", "sales", report, panel).outcome == outcome


def test_when_files_of_one_import_contradict_each_other_on_the_grid_then_nothing_is_stored(
    catalogue: Catalogue,
) -> None:
    declare(catalogue)
    panels = []
    for first in (START, START + timedelta(days=30, hours=6)):
        panel = check_panel(table(times(first, 30, days=1)), DatasetSpec(name="sales"), file="a.csv")[1]
        assert panel is not None
        panels.append((f"{first:%B}.csv", panel))
    with pytest.raises(RejectedPanel, match=r"January\.csv was rejected.*a has 30 times off the grid"):
        catalogue.add_many("default", "ada", "sales", lambda: iter(panels), "D")
    assert catalogue.datasets.latest_version("default", "sales") is None


def test_when_spans_of_many_series_are_asked_for_then_they_are_those_of_all_their_files(
    catalogue: Catalogue,
) -> None:
    """More series than are looked up one by one; corrections and later files count."""
    declare(catalogue)
    names = [f"s{number:04}" for number in range(1200)]

    def panel(day: int, chosen: list[str]) -> Panel:
        ds = pa.array([START + timedelta(days=day)] * len(chosen), TIMESTAMP)
        rows = pa.table({"unique_id": chosen, "ds": ds, "y": [1.0] * len(chosen)})
        return Panel(rows, rows.select(["unique_id", "ds"]).slice(0, 0), pa.table({"unique_id": chosen}))

    store = catalogue.store("default", "sales")
    assert stored_spans(store, None, panel(0, names)).num_rows == 0
    for day, chosen in ((3, names), (1, names[::2]), (9, names[:7])):
        catalogue.add_many("default", "ada", "sales", lambda p=panel(day, chosen): iter([("a", p)]), "D")  # type: ignore[misc]
    opened = catalogue.open("default", "sales")
    for asked in (names, names[100:103]):
        spans = {
            row["unique_id"]: row
            for row in stored_spans(store, opened.pins, panel(0, [*asked, "new"])).to_pylist()
        }
        assert sorted(spans) == sorted(asked)
        assert spans["s0100"]["first_ds"] == START + timedelta(days=1)
        assert spans["s0101"]["first_ds"] == START + timedelta(days=3)
    assert spans["s0100"]["last_ds"] == START + timedelta(days=3)
    assert stored_spans(store, opened.pins, panel(0, names)).schema.field("last_ds").type == TIMESTAMP


def test_when_appended_values_known_in_advance_leave_steps_out_then_the_answer_names_them(
    catalogue: Catalogue,
) -> None:
    """Rows that are stored already count; what closes the hole takes the finding away."""
    declare(catalogue, freq="D", roles=Roles(futr_exog=("price",)))
    append(catalogue, times(START, 9, days=1))
    spec = catalogue.declared_spec("default", "sales")

    def known_ahead(*numbers: int) -> list[str]:
        ds = [START + timedelta(days=number) for number in numbers]
        observed = {"unique_id": "a", "ds": ds, "futr_exog": {"price": [2.0] * len(ds)}}
        panel = panel_from_observations([ObservedSeries.model_validate(observed)], spec)
        findings = catalogue.append("default", "ada", "sales", panel).findings
        assert {finding.code for finding in findings} <= {"D061"}
        return [finding.message for finding in findings]

    assert known_ahead(9, 10) == []
    (message,) = known_ahead(13)
    assert message.startswith(
        "a has no row for 2 of its 5 steps ahead: 2024-01-12T00:00:00Z, 2024-01-13T00:00:00Z;"
    )
    assert known_ahead(11, 12) == []
