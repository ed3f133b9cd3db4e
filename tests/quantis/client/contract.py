"""What the client promises on any platform. Run by `test_client_contract.py` on the in-memory one.

To run these on another platform, import them beside two fixtures: `client`, signed in as an admin
of an empty team, and `sign_in`, a function (user_name, password) -> Client on the same platform.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from quantis.client import Client
from quantis.errors import Conflict, Forbidden, InvalidInput, NotFound, RejectedPanel, Unauthenticated
from quantis.types.accounts import Role, UserChange
from quantis.types.datasets import DatasetSpec, Roles
from quantis.types.job_specs import Family, TrainSpec
from quantis.types.jobs import JobState

SignIn = Callable[[str, str], Client]
START = datetime(2024, 1, 1, tzinfo=UTC)
HOURS = 96
PASSWORD = "correct horse battery"


def panel(series: tuple[str, ...] = ("JFK/B6", "a b?c#d")) -> pa.Table:
    """Hourly series whose values tell series and hour apart."""
    times = [START + timedelta(hours=i) for i in range(HOURS)]
    return pa.table(
        {
            "unique_id": [name for name in series for _ in times],
            "ds": pa.array(times * len(series), pa.timestamp("us", tz="UTC")),
            "y": [100.0 * s + i % 24 for s in range(len(series)) for i in range(HOURS)],
            "temp": [float(i) for _ in series for i in range(HOURS)],
        }
    )


def csv_of(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pacsv.write_csv(table, sink)
    return sink.getvalue()


def declared(client: Client, name: str = "hourly", publication_lag: timedelta = timedelta(0)) -> None:
    roles = Roles(hist_exog=("temp",))
    client.create_dataset(DatasetSpec(name=name, roles=roles, freq="h", publication_lag=publication_lag))


def test_when_the_first_admin_exists_then_the_setup_is_closed(client: Client) -> None:
    assert client.setup_state().open is False
    with pytest.raises((Conflict, Forbidden)):
        client.create_first_admin("not the secret", "mallory", PASSWORD)


def test_when_a_user_is_made_then_they_can_sign_in_with_their_role(client: Client, sign_in: SignIn) -> None:
    made = client.create_user("ann", PASSWORD, Role.analyst)
    with sign_in("ann", PASSWORD) as ann:
        assert ann.me() == made
        with pytest.raises(Forbidden):
            ann.users()
    assert {user.user_name for user in client.users()} >= {"ann", client.me().user_name}


def test_when_the_password_is_wrong_then_unauthenticated(client: Client, sign_in: SignIn) -> None:
    client.create_user("bob", PASSWORD)
    with pytest.raises(Unauthenticated):
        sign_in("bob", "wrong wrong wrong").me()


def test_when_a_password_is_too_short_then_it_is_refused_and_not_repeated(client: Client) -> None:
    with pytest.raises(InvalidInput) as caught:
        client.create_user("eve", "short")
    assert "short" not in str(caught.value).replace("shorter", "")
    assert "password" in caught.value.message


def test_when_a_role_is_changed_then_it_holds_at_once(client: Client, sign_in: SignIn) -> None:
    user = client.create_user("cleo", PASSWORD, Role.viewer)
    changed = client.change_user(user.id, UserChange(role=Role.admin))
    assert changed.role is Role.admin
    with sign_in("cleo", PASSWORD) as cleo:
        assert cleo.users()


@pytest.mark.parametrize("form", ["table", "csv", "parquet", "path", "pandas", "lazy"])
def test_when_the_same_rows_come_in_any_form_then_there_is_one_version(
    client: Client, form: str, tmp_path: object
) -> None:
    table = panel()
    declared(client)
    first = client.upload("hourly", table)
    assert first.created
    assert (first.version.number, first.version.rows, first.version.series) == (1, 2 * HOURS, 2)
    again = client.upload("hourly", _as(form, table, tmp_path))
    assert not again.created
    assert again.version == first.version
    assert [version.number for version in client.versions("hourly")] == [1]


def test_when_a_value_changes_then_there_is_a_new_version_with_another_hash(client: Client) -> None:
    declared(client)
    table = panel()
    first = client.upload("hourly", table)
    changed = table.set_column(2, "y", pa.array([-1.0, *table["y"].to_pylist()[1:]]))
    second = client.upload("hourly", changed)
    assert second.created
    assert second.version.number == 2
    assert second.version.content_hash != first.version.content_hash


def test_when_a_panel_breaks_its_contract_then_the_findings_say_where(client: Client) -> None:
    declared(client)
    values = [f"{y:g}" for y in panel()["y"].to_pylist()]
    bad = panel().set_column(2, "y", pa.array([*values[:4], "many", *values[5:]]))
    report = client.check("hourly", csv_of(bad), file="bad.csv")
    assert report.outcome == "reject"
    with pytest.raises(RejectedPanel) as caught:
        client.upload("hourly", csv_of(bad), file="bad.csv")
    assert [(f.code, f.row) for f in caught.value.findings] == [(f.code, f.row) for f in report.findings]
    errors = [f for f in caught.value.findings if f.severity == "error"]
    assert [(f.code, f.row, f.column) for f in errors] == [("D030", 5, "y")]
    assert client.versions("hourly") == []


def test_when_a_name_is_new_then_a_check_detects_the_roles(client: Client) -> None:
    report = client.check("unheard-of", panel())
    assert report.outcome in ("accept", "accept_with_warning")
    assert (report.rows, report.series, report.freq) == (2 * HOURS, 2, "h")
    with pytest.raises(NotFound):
        client.dataset("unheard-of")


def test_when_a_dataset_exists_then_it_is_not_made_again(client: Client) -> None:
    declared(client)
    with pytest.raises(Conflict):
        declared(client)
    assert [dataset.name for dataset in client.datasets()] == ["hourly"]


@pytest.mark.parametrize("unique_id", ["JFK/B6", "a b?c#d"])
def test_when_an_id_holds_marks_of_an_address_then_its_series_is_still_read(
    client: Client, unique_id: str
) -> None:
    declared(client)
    client.upload("hourly", panel())
    series = client.read_series("hourly", unique_id)
    assert series.unique_id == unique_id
    assert len(series.ds) == len(series.y) == len(series.exog["temp"]) == HOURS
    assert series.ds[0] == START


def test_when_windows_are_asked_for_then_the_longest_horizon_and_their_number_are_told(
    client: Client,
) -> None:
    declared(client)
    with pytest.raises(NotFound):
        client.fitting_windows("hourly")
    client.upload("hourly", panel())
    fitting = client.fitting_windows("hourly", h=12)
    assert (fitting.version, fitting.freq, fitting.steps, fitting.max_h) == (1, "h", HOURS, HOURS - 1)
    assert (fitting.h, fitting.step_size, fitting.max_windows) == (12, 12, (HOURS - 13) // 12 + 1)
    assert client.fitting_windows("hourly", h=12, step_size=1, version=1).max_windows == min(50, HOURS - 12)
    assert client.fitting_windows("hourly", h=HOURS).max_windows == 0
    begun = panel()["ds"][0].as_py() + timedelta(hours=9)
    assert client.fitting_windows("hourly", h=2, as_of=begun).max_windows == 4


def test_when_read_as_of_a_time_then_values_published_later_are_absent(client: Client) -> None:
    declared(client, publication_lag=timedelta(hours=1))
    client.upload("hourly", panel())
    as_of = START + timedelta(hours=24)
    series = client.read_series("hourly", "JFK/B6", as_of=as_of)
    assert series.as_of == as_of
    assert series.ds[-1] == START + timedelta(hours=23)
    part = client.read_series(
        "hourly", "JFK/B6", start=START + timedelta(hours=2), end=START + timedelta(hours=4)
    )
    assert part.y == [2.0, 3.0, 4.0]


def test_when_series_are_searched_then_only_fitting_ones_are_listed(client: Client) -> None:
    declared(client)
    client.upload("hourly", panel())
    assert [s.unique_id for s in client.series("hourly", search="JFK")] == ["JFK/B6"]
    assert {s.unique_id for s in client.series("hourly")} == {"JFK/B6", "a b?c#d"}


def test_when_there_are_more_series_than_a_page_holds_then_all_are_listed(client: Client) -> None:
    declared(client)
    names = tuple(f"s{i:03}" for i in range(120))
    client.upload("hourly", panel(names))
    assert sorted(s.unique_id for s in client.series("hourly")) == list(names)
    assert len(client.series("hourly", limit=70)) == 70


def test_when_a_job_is_submitted_twice_with_one_key_then_it_is_one_job(client: Client) -> None:
    declared(client)
    client.upload("hourly", panel())
    spec = TrainSpec(dataset="hourly", model="m", families=(Family.seasonal_naive,))
    job = client.submit(spec, idempotency_key="once")
    assert client.submit(spec, idempotency_key="once").id == job.id
    other = client.submit(spec)
    assert other.id != job.id
    assert [found.id for found in client.jobs(kind="train")] == [other.id, job.id]
    assert job.spec == spec


def test_when_a_job_is_stopped_then_it_ends_and_the_story_says_so(client: Client) -> None:
    declared(client)
    client.upload("hourly", panel())
    job = client.submit(TrainSpec(dataset="hourly", model="m"))
    client.stop(job.id)
    told: list[int] = []
    ended = client.wait(job.id, lambda event: told.append(event.seq), timeout=30)
    assert ended.state is JobState.stopped
    assert told == sorted(set(told))
    assert told
    assert isinstance(client.logs(job.id), str)


def test_when_a_viewer_submits_a_job_then_forbidden(client: Client, sign_in: SignIn) -> None:
    declared(client)
    client.upload("hourly", panel())
    client.create_user("vic", PASSWORD, Role.viewer)
    with sign_in("vic", PASSWORD) as vic, pytest.raises(Forbidden):
        vic.submit(TrainSpec(dataset="hourly", model="m"))


def test_when_something_is_not_there_then_not_found(client: Client) -> None:
    for ask in (
        lambda: client.dataset("nothing"),
        lambda: client.job("nothing"),
        lambda: client.wait("nothing", timeout=5),
        lambda: client.leaderboard("nothing"),
        lambda: client.backtest("nothing"),
        lambda: client.backtest_figures("nothing", "series"),
        lambda: client.card("nothing"),
        lambda: client.model_versions("nothing"),
        lambda: client.forecast("nothing", "a"),
        lambda: client.get_forecast("nothing"),
    ):
        with pytest.raises(NotFound):
            ask()


def _as(form: str, table: pa.Table, folder: object) -> object:
    if form == "csv":
        return csv_of(table)
    if form == "parquet":
        sink = io.BytesIO()
        pq.write_table(table, sink)
        return sink.getvalue()
    if form == "path":
        from pathlib import Path

        path = Path(str(folder)) / "panel.csv"
        path.write_bytes(csv_of(table))
        return path
    if form == "pandas":
        return table.to_pandas()
    if form == "lazy":
        import narwhals

        return narwhals.from_native(table).lazy()
    return table
