"""Frames in and out: what Nixtla's tools get, and what becomes of a dataframe."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from utilsforecast.evaluation import evaluate
from utilsforecast.losses import coverage, mae
from utilsforecast.plotting import plot_series

from quantis import Client, forecast_frame
from quantis.client.frames import intervals, series_requests
from quantis.errors import InvalidInput
from quantis.testing import FakeApi
from quantis.types.accounts import Role
from quantis.types.datasets import DatasetSpec, Roles
from quantis.types.forecasts import (
    ForecastMethod,
    ForecastResponse,
    ModelRef,
    Reason,
    SeriesForecast,
    SeriesRequest,
)
from quantis.types.registry import ModelVersion

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = [START + timedelta(days=i) for i in range(3)]


def response(*entries: SeriesForecast) -> ForecastResponse:
    return ForecastResponse(
        forecast_id="f",
        model=ModelRef(name="m", version=1, family="tft"),
        freq="D",
        as_of=START,
        issued_at=START,
        forecasts=list(entries),
    )


def entry(unique_id: str, at: float, **quantiles: float) -> SeriesForecast:
    return SeriesForecast(
        unique_id=unique_id,
        status="ok",
        method=ForecastMethod.model,
        ds=DAYS,
        mean=[at] * 3,
        quantiles={text.replace("_", "."): [at + d] * 3 for text, d in quantiles.items()},
    )


REFUSED = SeriesForecast(
    unique_id="z", status="refused", method=ForecastMethod.none, ds=[], mean=[], quantiles={}
)


def test_when_quantiles_pair_up_then_they_become_nixtlas_columns() -> None:
    wide = {"0_025": -3.0, "0_1": -2.0, "0_5": 0.0, "0_9": 2.0, "0_975": 3.0, "0_7": 1.0}
    table = forecast_frame(
        response(entry("b", 10.0, **wide), REFUSED, entry("a", 20.0, **wide)), origins=False
    )
    assert table.column_names == [
        "unique_id",
        "ds",
        "Model",
        "Model-lo-80",
        "Model-hi-80",
        "Model-lo-95",
        "Model-hi-95",
    ]
    assert table["unique_id"].to_pylist() == ["b"] * 3 + ["a"] * 3
    assert table["Model-lo-95"].to_pylist() == [7.0] * 3 + [17.0] * 3
    assert table["Model-hi-80"].to_pylist() == [12.0] * 3 + [22.0] * 3


def test_when_one_series_lacks_an_interval_then_it_is_null_there() -> None:
    table = forecast_frame(response(entry("a", 1.0, **{"0_1": -1.0, "0_9": 1.0}), entry("b", 2.0)))
    assert table["Model-lo-80"].to_pylist() == [0.0] * 3 + [None] * 3


def test_when_nothing_was_answered_then_the_frame_is_empty_with_its_columns() -> None:
    table = forecast_frame(response(REFUSED), origins=False)
    assert (table.num_rows, table.column_names) == (0, ["unique_id", "ds", "Model"])


def test_when_series_are_refused_or_fall_back_then_the_frame_says_so() -> None:
    refused = REFUSED.model_copy(update={"reason": Reason.off_grid, "detail": "its times do not rise"})
    naive = entry("b", 2.0).model_copy(
        update={"status": "fallback", "method": ForecastMethod.seasonal_naive, "reason": Reason.short_history}
    )
    shared = entry("a", 1.0, **{"0_1": -1.0, "0_9": 1.0}).model_copy(update={"version": 7})
    rows = forecast_frame(response(shared, refused, naive)).to_pylist()
    assert [row["unique_id"] for row in rows] == ["a"] * 3 + ["z"] + ["b"] * 3
    assert [row["method"] for row in rows] == ["model"] * 3 + ["none"] + ["seasonal_naive"] * 3
    assert [row["reason"] for row in rows] == [None] * 3 + ["off_grid"] + ["short_history"] * 3
    assert [row["status"] for row in rows] == ["ok"] * 3 + ["refused"] + ["fallback"] * 3
    assert [row["version"] for row in rows] == [7] * 3 + [1] * 4
    assert (rows[3]["ds"], rows[3]["Model"], rows[3]["Model-lo-80"]) == (None, None, None)
    assert rows[3]["detail"] == "its times do not rise"
    assert [row["Model-lo-80"] for row in rows] == [0.0] * 3 + [None] * 4


@pytest.mark.parametrize("level", [50, 80, 90, 95, 99, 99.9, 37.5])
def test_when_a_level_was_asked_for_then_its_column_bears_its_name(level: float) -> None:
    low, high = (1 - level / 100) / 2, (1 + level / 100) / 2
    assert intervals({str(low), "0.5", str(high)}) == [(f"{level:g}", str(low), str(high))]


def test_when_handed_to_utilsforecast_then_it_scores_and_draws_them() -> None:
    frame = forecast_frame(response(entry("a", 1.0, **{"0_1": -1.0, "0_9": 1.0})), origins=False).to_pandas()
    actuals = frame[["unique_id", "ds"]].assign(y=[1.5, 1.0, 3.0])
    scores = evaluate(frame.merge(actuals, on=["unique_id", "ds"]), metrics=[mae, coverage], level=[80])
    assert scores.set_index("metric")["Model"].to_dict() == pytest.approx(
        {"mae": 2.5 / 3, "coverage_level80": 2 / 3}
    )
    figure = plot_series(actuals, frame, level=[80], engine="matplotlib")
    assert figure.axes


def history(kind: str) -> object:
    frame = pd.DataFrame(
        {
            "unique_id": ["b", "a", "a", "a"],
            "ds": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-01", "2024-01-03"]),
            "y": [5.0, 2.0, np.nan, 3.0],
            "temp": [1, 2, 3, 4],
            "promo": [True, False, True, False],
            "city": pd.Categorical(["B", "A", "A", "A"]),
        }
    )
    if kind == "pandas":
        return frame
    return pa.Table.from_pandas(frame) if kind == "arrow" else nw.from_native(frame)


ROLES = Roles(futr_exog=("promo",), hist_exog=("temp",), stat_exog=("city",), categorical=("city",))


@pytest.mark.parametrize("kind", ["pandas", "arrow", "narwhals"])
def test_when_a_dataframe_is_given_then_each_series_is_sorted_and_its_roles_kept(kind: str) -> None:
    future = pd.DataFrame({"unique_id": ["a"], "ds": [pd.Timestamp("2024-01-04")], "promo": [True]})
    a, b = series_requests(history(kind), future, ROLES)
    assert a == SeriesRequest(
        unique_id="a",
        ds=DAYS,
        y=[None, 2.0, 3.0],
        hist_exog={"temp": [3.0, 2.0, 4.0]},
        futr_exog={"promo": [1.0, 0.0, 0.0, 1.0]},
        stat_exog={"city": "A"},
    )
    assert b.futr_exog == {"promo": [1.0]}


def test_when_times_have_a_zone_then_they_are_turned_into_utc() -> None:
    times = pd.DatetimeIndex(["2024-01-01 01:00"], tz="Europe/Berlin")
    (found,) = series_requests(pd.DataFrame({"unique_id": ["a"], "ds": times, "y": [1.0]}), None, Roles())
    assert found.ds == [START]


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pa.table({"unique_id": ["a"], "y": [1.0]}), "no column ds"),
        (pa.table({"unique_id": ["a"], "ds": ["soon"], "y": [1.0]}), "does not hold times"),
        (pa.table({"unique_id": ["a"], "ds": [DAYS[0]], "y": ["x"]}), "y"),
        (3, "neither bytes, a path nor a dataframe"),
    ],
)
def test_when_a_frame_cannot_be_a_panel_then_invalid_input_says_why(frame: object, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        series_requests(frame, None, Roles())


@pytest.fixture
def client() -> Client:
    api = FakeApi()
    api.add_user("ann", "correct horse battery", Role.admin)
    api.models.append(
        ModelVersion(
            model="m",
            version=1,
            family="tft",
            aliases=["champion"],
            created_at=START,
            dataset="d",
            h=2,
            freq="D",
        )
    )
    client = Client("http://test", user="ann", password="correct horse battery", transport=api.transport())
    client.create_dataset(DatasetSpec(name="d", freq="D", roles=Roles(hist_exog=("temp",))))
    client.upload(
        "d",
        pd.DataFrame({"unique_id": "stored", "ds": pd.to_datetime(DAYS), "y": [1.0, 2.0, 4.0], "temp": 0.0}),
    )
    return client


def test_when_ids_are_given_then_entries_come_in_their_order_and_none_is_dropped(client: Client) -> None:
    answer = client.forecast("m", ["unknown", "stored", "unknown"], level=[80])
    assert [(e.unique_id, e.status) for e in answer.forecasts] == [
        ("unknown", "refused"),
        ("stored", "fallback"),
        ("unknown", "refused"),
    ]
    assert answer.forecasts[1].ds == [START + timedelta(days=3), START + timedelta(days=4)]
    assert forecast_frame(answer, origins=False).column_names[-2:] == ["Model-lo-80", "Model-hi-80"]
    assert client.get_forecast(answer.forecast_id) == answer


def test_when_a_dataframe_is_given_then_the_models_dataset_says_what_its_columns_are(client: Client) -> None:
    frame = pd.DataFrame(
        {"unique_id": "new", "ds": pd.to_datetime(DAYS), "y": [3.0, 3.0, 7.0], "temp": 1.0, "junk": 2.0}
    )
    (found,) = client.forecast("m@champion", frame, h=1, quantiles=[0.5]).forecasts
    assert (found.mean, found.quantiles) == ([7.0], {"0.5": [7.0]})


def test_when_level_and_quantiles_are_both_given_then_invalid_input_before_anything_is_sent(
    client: Client,
) -> None:
    with pytest.raises(InvalidInput, match="give one"):
        client.forecast("m", "stored", level=[80], quantiles=[0.5])


def test_when_a_future_is_given_beside_ids_then_it_is_not_ignored(client: Client) -> None:
    with pytest.raises(InvalidInput, match="future goes with a dataframe of histories"):
        client.forecast("m", ["stored"], future=pd.DataFrame({"unique_id": ["stored"]}))


def test_when_a_future_is_shorter_than_the_model_s_horizon_then_its_missing_step_is_named(
    client: Client,
) -> None:
    roles = Roles(futr_exog=("promo",))
    frame = pd.DataFrame({"unique_id": "a", "ds": pd.to_datetime(DAYS), "y": 1.0, "promo": 0.0})
    ahead = pd.DataFrame({"unique_id": "a", "ds": [DAYS[-1] + timedelta(days=1)], "promo": 1.0})
    with pytest.raises(InvalidInput, match=r"no row for 2024-01-05; .* a smaller h"):
        client.forecast("m", frame, future=ahead, roles=roles)
    assert (
        client.forecast("m", frame, future=ahead, roles=roles, h=1).forecasts[0].ds == ahead["ds"].to_list()
    )
