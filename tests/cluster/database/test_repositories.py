"""Accounts, datasets, vintages and leases, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cluster.database.tables import ForecastRow
from cluster.repositories import leases as lease_module
from cluster.repositories.accounts import UserAccounts
from cluster.repositories.datasets import Datasets, NewVersion
from cluster.repositories.leases import Leases
from cluster.repositories.vintages import Vintages
from quantis.errors import Conflict, InvalidInput, NotFound, Unauthenticated
from quantis.types.accounts import Role
from quantis.types.datasets import DatasetSpec, Roles, VersionAction
from quantis.types.forecasts import (
    ForecastMethod,
    ForecastRequest,
    ForecastResponse,
    ModelRef,
    Reason,
    SeriesForecast,
)
from tests.cluster.concurrency import at_once

PASSWORD = "correct horse battery"
NOW = datetime(2024, 5, 1, 12, 30, 15, 123456, tzinfo=UTC)


# Accounts


@pytest.fixture
def accounts(database):
    return UserAccounts(database)


@pytest.fixture
def ada(accounts):
    return accounts.create("default", "ada", PASSWORD, Role.analyst)


def test_when_a_user_is_made_then_name_and_password_find_it(accounts, ada):
    assert accounts.any_user()
    assert accounts.authenticate("ada", PASSWORD) == ada == accounts.enabled_user(ada.id)
    assert accounts.all("default") == [ada]
    assert accounts.all("others") == []
    assert (ada.team, ada.role, ada.disabled) == ("default", Role.analyst, False)
    for name, password in (("ada", "wrong"), ("bob", PASSWORD), ("ada\0", PASSWORD)):
        with pytest.raises((Unauthenticated, InvalidInput)):
            accounts.authenticate(name, password)
    with pytest.raises(Conflict, match="'ada' is taken"):
        accounts.create("others", "ada", PASSWORD, Role.viewer)


def test_when_one_name_is_taken_at_once_then_one_gets_it(accounts):
    found = at_once(4, lambda number: accounts.create("default", "ada", PASSWORD, Role.viewer))
    assert sum(isinstance(one, Conflict) for one in found) == 3
    assert len(accounts.all("default")) == 1


def test_when_several_want_to_be_the_first_then_one_is(accounts):
    found = at_once(
        4, lambda number: accounts.create("default", f"u{number}", PASSWORD, Role.admin, first=True)
    )
    assert sum(isinstance(one, Conflict) for one in found) == 3
    assert len(accounts.all("default")) == 1


def test_when_two_admins_disable_each_other_at_once_then_one_stays(accounts):
    admins = [accounts.create("default", name, PASSWORD, Role.admin).id for name in ("one", "two")]
    for _ in range(4):
        for one in admins:
            accounts.change("default", one, role=None, disabled=False, password=None)
        at_once(2, lambda n: accounts.change("default", admins[n], role=None, disabled=True, password=None))
        assert [one.disabled for one in accounts.all("default")].count(False) == 1


def test_when_another_team_s_user_is_changed_then_it_is_not_found(accounts, ada):
    with pytest.raises(NotFound):
        accounts.change("others", ada.id, role=Role.admin, disabled=None, password=None)
    with pytest.raises(NotFound):
        accounts.change("default", "unknown", role=Role.admin, disabled=None, password=None)
    assert accounts.enabled_user(ada.id) == ada


# Datasets


SPEC = DatasetSpec(
    name="sales", roles=Roles(futr_exog=("promo é",), categorical=("promo é",)), freq="15min",
    publication_lag=timedelta(hours=1, microseconds=5), time_zone="Europe/Paris", holidays="FR", description="é\n'\"",
)  # fmt: skip


@pytest.fixture
def datasets(database):
    return Datasets(database)


def version(content, **changes):
    values = {
        "content_hash": content, "pins": {"target": 1, "future": 0, "static": 2}, "freq": "h", "rows": 10, "series": 2,
        "first_ds": NOW - timedelta(days=1), "last_ds": NOW, "columns": {"y": "double"},
        "content": {"target": [10, 2**64 - 1, 1]}, "action": VersionAction.append,
    }  # fmt: skip
    return NewVersion(**(values | changes))


def test_when_a_dataset_is_declared_then_every_part_of_it_reads_back(datasets):
    made = datasets.create("default", "ada", SPEC)
    assert datasets.get("default", "sales") == made
    assert datasets.find("default", "sales") == SPEC
    assert datasets.find("others", "sales") is None
    assert datasets.all("default") == [made]
    assert datasets.all("others") == []
    with pytest.raises(Conflict, match="'sales' exists"):
        datasets.create("default", "ada", SPEC)
    datasets.create("others", "bob", SPEC)
    with pytest.raises(NotFound, match="no version yet"):
        datasets.version("default", "sales")


def test_when_versions_are_added_then_each_pins_its_own(datasets):
    datasets.create("default", "ada", SPEC)
    first = datasets.add_version("default", "sales", "ada", version("a" * 64), None)
    base = datasets.version("default", "sales")
    assert base.content == {"target": [10, 2**64 - 1, 1]}
    second = datasets.add_version(
        "default", "sales", "ada", version("b" * 64, pins={"target": 9}, rows=11), base
    )
    assert (first.number, first.parent, second.number, second.parent) == (1, None, 2, 1)
    assert (first.last_ds, first.action, first.columns) == (NOW, "append", {"y": "double"})
    assert first.roles == SPEC.roles
    assert [one.version for one in datasets.all_versions("default", "sales")] == [first, second]
    assert list(datasets.versions("default", "sales")) == [second, first]
    assert datasets.version("default", "sales").version == second
    assert datasets.version("default", "sales").pins == {"target": 9}
    assert datasets.version("default", "sales", 1).pins == {"target": 1, "future": 0, "static": 2}
    found = datasets.get("default", "sales")
    assert (found.latest_version, found.rows, found.series) == (2, 11, 2)
    for number in (3, 0, -1):
        with pytest.raises(NotFound, match=f"no version {number}"):
            datasets.version("default", "sales", number)
    with pytest.raises(NotFound):
        datasets.version("others", "sales")


def test_when_another_writer_was_first_then_it_is_a_conflict(datasets):
    datasets.create("default", "ada", SPEC)
    datasets.add_version("default", "sales", "ada", version("a" * 64), None)
    with pytest.raises(Conflict, match="'sales' is at version 1"):
        datasets.add_version("default", "sales", "bob", version("b" * 64), None)
    base = datasets.version("default", "sales")
    datasets.add_version("default", "sales", "ada", version("b" * 64), base)
    with pytest.raises(Conflict, match="is at version 2"):
        datasets.add_version("default", "sales", "bob", version("c" * 64), base)
    assert len(datasets.versions("default", "sales")) == 2


def test_when_versions_are_added_at_once_then_one_is_and_the_others_conflict(datasets):
    datasets.create("default", "ada", SPEC)
    found = at_once(4, lambda n: datasets.add_version("default", "sales", "ada", version(f"{n}" * 64), None))
    assert sum(isinstance(one, Conflict) for one in found) == 3
    assert len(datasets.versions("default", "sales")) == 1


def test_when_a_dataset_is_declared_at_once_then_once(datasets):
    found = at_once(4, lambda number: datasets.create("default", "ada", SPEC))
    assert sum(isinstance(one, Conflict) for one in found) == 3


# Vintages


def issued(forecast_id="f-1", **changes):
    entry = SeriesForecast(
        unique_id="JFK/B6 é", status="fallback", method=ForecastMethod.last_value, reason=Reason.short_history,
        detail="'\"\\",
        ds=[NOW], mean=[0.1 + 0.2], quantiles={"0.5": [1e-17]},
    )  # fmt: skip
    values = {
        "forecast_id": forecast_id, "model": ModelRef(name="demand", version=3, alias="champion", family="tft"),
        "freq": "h",
        "as_of": NOW, "issued_at": NOW, "forecasts": [entry] * 50,
    }  # fmt: skip
    return ForecastResponse.model_validate(values | changes)


REQUEST = ForecastRequest.model_validate({"series": [{"unique_id": "JFK/B6 é"}]})


def test_when_a_vintage_is_kept_then_it_reads_back_to_the_last_digit_and_never_changes(database):
    vintages = Vintages(database)
    vintages.append("default", REQUEST, issued())
    assert vintages.get("default", "f-1") == issued()
    for team, name in (("others", "f-1"), ("default", "f-2")):
        with pytest.raises(NotFound):
            vintages.get(team, name)
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        vintages.append("default", REQUEST, issued(freq="D"))
    assert vintages.get("default", "f-1").freq == "h"
    with database.read() as session:
        row = session.get_one(ForecastRow, ("default", "f-1"))
        assert (row.as_of, row.issued_at, row.version) == (NOW, NOW, 3)
        assert len(row.response) < len(issued().model_dump_json()) / 4


def test_when_many_vintages_are_kept_at_once_then_none_is_lost(database):
    vintages = Vintages(database)
    assert at_once(8, lambda n: vintages.append("default", REQUEST, issued(f"f-{n}"))) == [None] * 8
    assert all(vintages.get("default", f"f-{n}").forecast_id == f"f-{n}" for n in range(8))


# Leases


class Clock:
    """Stands in for `datetime` in the module; time passes when told."""

    def __init__(self):
        self.moment = NOW

    def now(self, zone):
        return self.moment


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(lease_module, "datetime", clock)
    return clock


TEN = timedelta(seconds=10)


def test_when_a_lease_is_held_then_nobody_else_gets_it_until_it_expires(database, clock):
    leases = Leases(database)
    assert leases.take("work", "a", TEN)
    assert not leases.take("work", "b", TEN)
    assert leases.take("other work", "b", TEN)
    clock.moment += timedelta(seconds=9)
    assert leases.take("work", "a", TEN)
    clock.moment += timedelta(seconds=9)
    assert not leases.take("work", "b", TEN)
    clock.moment += timedelta(seconds=1)
    assert leases.take("work", "b", TEN)
    assert not leases.take("work", "a", TEN)


def test_when_a_lease_is_kept_then_it_is_written_once_in_a_third_of_its_time_and_given_back_it_is_free(
    database, clock, monkeypatch
):
    seconds = iter((0.0, 1.0, 3.0, 3.5, 7.0, 8.0))
    monkeypatch.setattr("cluster.repositories.leases.monotonic", lambda: next(seconds))
    leases, start = Leases(database), clock.moment
    ends = []
    for second in (0, 1, 3):
        clock.moment = start + timedelta(seconds=second)
        assert leases.hold("work", "a", TEN)
        ends.append(leases.end("work"))
    assert ends == [start + TEN, start + TEN, start + TEN]
    clock.moment = start + timedelta(seconds=3.5)
    assert leases.hold("work", "a", TEN)
    assert leases.end("work") == start + timedelta(seconds=13.5)
    leases.release("work", "a")
    assert Leases(database).take("work", "b", TEN)
    assert not leases.hold("work", "a", TEN), "what was given back is asked for again"
    assert not leases.hold("work", "a", TEN)


def test_when_a_lease_is_given_back_then_it_is_free_but_only_its_holder_can_give_it(database):
    leases = Leases(database)
    assert leases.take("work", "a", TEN)
    leases.release("work", "b")
    assert not leases.take("work", "b", TEN)
    leases.release("work", "a")
    assert leases.take("work", "b", TEN)
    leases.release("never taken", "a")


def test_when_many_take_at_once_then_one_holds(database):
    leases = Leases(database)
    for round_ in range(3):
        found = at_once(6, lambda number, name=f"work{round_}": leases.take(name, str(number), TEN))
        assert found.count(True) == 1
        again = at_once(6, lambda number, name=f"work{round_}": leases.take(name, str(number), TEN))
        assert again == found


def test_when_an_expired_lease_is_taken_at_once_then_one_holds(database, clock):
    leases = Leases(database)
    assert leases.take("work", "dead", TEN)
    clock.moment += TEN
    assert at_once(6, lambda number: leases.take("work", str(number), TEN)).count(True) == 1
