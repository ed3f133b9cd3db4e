"""Frames become requests: the future by time, and everything as an upload would read it (k04, k20, k21, k22)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from quantis.client.bodies import arrow_table, quote_segment
from quantis.client.frames import series_requests
from quantis.errors import InvalidInput
from quantis.frequency import Frequency, to_datetimes
from quantis.types.datasets import DatasetSpec, Roles
from quantis.validation.panel_check import check_panel

PROMO = Roles(futr_exog=("promo",))
JANUARY = pd.date_range("2024-01-11", periods=7, tz="UTC")


def history(**columns: Any) -> pd.DataFrame:
    days = pd.date_range("2024-01-01", periods=10, tz="UTC")
    return pd.DataFrame({"unique_id": "A", "ds": days, "y": np.arange(10.0), "promo": 0.0} | columns)


def future(ds: Any) -> pd.DataFrame:
    return pd.DataFrame({"unique_id": "A", "ds": ds, "promo": [float(time.day) for time in ds]})


def sent(ds: Any, **options: Any) -> list[Any]:
    return series_requests(history(), future(ds), PROMO, **options)[0].futr_exog["promo"][10:]


RIGHT = [11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0]


@pytest.mark.parametrize("options", [{}, {"freq": "D"}, {"freq": "D", "h": 7}], ids=str)
def test_when_the_future_is_whole_then_its_values_go_by_time(options: dict[str, Any]) -> None:
    assert sent(JANUARY, **options) == RIGHT
    assert sent(JANUARY[::-1], **options) == RIGHT
    with_history = pd.date_range("2024-01-05", "2024-01-17", tz="UTC")
    assert sent(with_history, **options) == RIGHT
    assert sent(pd.date_range("2024-01-11", periods=20, tz="UTC"), **options)[:7] == RIGHT


@pytest.mark.parametrize("options", [{}, {"freq": "D"}, {"freq": "D", "h": 7}], ids=str)
@pytest.mark.parametrize(
    ("ds", "said"),
    [
        (JANUARY + pd.Timedelta(days=1), "no row for 2024-01-11"),
        (pd.date_range("2024-01-11", periods=8, tz="UTC").delete(2), "no row for 2024-01-13"),
        (JANUARY + pd.Timedelta(days=366), "no row for 2024-01-11, 2024-01-12, 2024-01-13 and"),
        (JANUARY - pd.Timedelta(days=7), "no row for 2024-01-11"),
        (JANUARY + pd.Timedelta(hours=1), "no row for 2024-01-11"),
        (
            JANUARY.append(pd.DatetimeIndex(["2024-01-12T06:00Z"])),
            "has 2024-01-12T06:00:00, off the grid of D",
        ),
    ],
)
def test_when_a_step_has_no_row_or_a_row_no_step_then_it_is_named(
    ds: Any, said: str, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput, match=said):
        sent(ds, **options)


def test_when_rows_overlap_the_history_then_they_are_left_out_and_the_missing_steps_named() -> None:
    overlapping = JANUARY - pd.Timedelta(days=3)
    assert sent(overlapping) == RIGHT[:4]
    assert sent(overlapping, freq="D", h=4) == RIGHT[:4]
    with pytest.raises(InvalidInput, match=r"no row for 2024-01-15, 2024-01-16, 2024-01-17; .* a smaller h"):
        sent(overlapping, freq="D", h=7)


def test_when_a_time_comes_twice_then_equal_rows_count_once_and_others_are_named() -> None:
    assert sent([*JANUARY, JANUARY[2]]) == RIGHT
    frame = future([*JANUARY, JANUARY[2]])
    frame.loc[7, "promo"] = 99.0
    with pytest.raises(InvalidInput, match=r"future, row 8: A has another row at 2024-01-13"):
        series_requests(history(), frame, PROMO)


def test_when_the_future_holds_another_series_then_it_is_named() -> None:
    frame = pd.concat([future(JANUARY), future(JANUARY).assign(unique_id="B")])
    with pytest.raises(InvalidInput, match="future holds series 'B', which the history lacks"):
        series_requests(history(), frame, PROMO)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    freq=st.sampled_from(["h", "15min", "D", "W", "MS", "ME", "QS", "B", "1"]),
    before=st.integers(0, 6),
    beyond=st.integers(0, 4),
    h=st.integers(1, 8),
    dropped=st.none() | st.integers(0, 7),
    shuffled=st.randoms(use_true_random=False),
)
def test_when_any_future_is_sent_then_each_value_stands_at_its_own_time_or_its_step_is_named(
    freq: str, before: int, beyond: int, h: int, dropped: int | None, shuffled: Any
) -> None:
    frequency = Frequency.parse(freq)
    start = np.datetime64("2024-01-31" if freq == "ME" else "2024-01-01", "us")
    times = frequency.range(start, 12 + h + beyond)
    past, ahead = times[:12], list(range(12 - before, 12 + h + beyond))
    if dropped is not None and dropped < h:
        ahead.remove(12 + dropped)
    assume(ahead)  # a series without a row in the future has nothing known in advance
    shuffled.shuffle(ahead)
    observed = pa.table({"unique_id": ["A"] * 12, "ds": pa.array(past), "y": [1.0] * 12})
    known = pa.table(
        {"unique_id": ["A"] * len(ahead), "ds": pa.array(times[ahead]), "promo": [float(i) for i in ahead]}
    )
    if dropped is not None and dropped < h:
        with pytest.raises(InvalidInput, match=str(times[12 + dropped])[:10]):
            series_requests(observed, known, PROMO, freq=freq, h=h)
    else:
        (request,) = series_requests(observed, known, PROMO, freq=freq, h=h)
        assert request.futr_exog == {"promo": [float(step) for step in range(12, 12 + h)]}


def as_upload(frame: pd.DataFrame, roles: Roles = Roles()) -> Any:
    """The panel that an upload of the frame makes."""
    spec = DatasetSpec(name="d", roles=roles)
    plain = arrow_table(frame).replace_schema_metadata()
    return check_panel(plain, spec, file="x")[1]


def dated(ds: Any, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"unique_id": "A", "ds": ds, "y": np.arange(float(len(ds)))} | columns)


TIMES = {
    "periods of months": pd.period_range("2021-01", periods=40, freq="M"),
    "periods of weeks": pd.period_range("2021-01-04", periods=40, freq="W-SUN"),
    "periods of quarters": pd.period_range("2001Q1", periods=40, freq="Q"),
    "periods of hours": pd.period_range("2021-01-01", periods=40, freq="h"),
    "local midnights over a clock change": pd.date_range("2024-02-20", periods=40, tz="America/New_York"),
    "local midnights as text": [
        str(t) for t in pd.date_range("2024-02-20", periods=40, tz="America/New_York")
    ],
    "hours of a zone": pd.date_range("2024-03-01", periods=400, freq="h", tz="Europe/Berlin"),
    "times without a zone": pd.date_range("2024-03-01", periods=40, freq="h"),
    "texts": [f"2024-01-{day:02}" for day in range(1, 31)],
    "texts of another order": [f"{day:02}.01.2024" for day in range(1, 31)],
    "dates": list(pd.date_range("2024-01-01", periods=30).date),
    "counts": list(range(40)),
    "seconds since 1970": [1_700_000_000 + 3600 * step for step in range(40)],
}


@pytest.mark.parametrize("name", TIMES)
def test_when_times_are_in_any_form_then_a_request_reads_them_as_an_upload_does(name: str) -> None:
    frame = dated(TIMES[name])
    panel = as_upload(frame)
    (request,) = series_requests(frame, None, Roles())
    assert request.ds == panel.target["ds"].to_pylist()
    if name.startswith("periods"):
        assert request.ds == to_datetimes(TIMES[name].to_timestamp().to_numpy())


@pytest.mark.parametrize("freq", ["D", None])
def test_when_midnights_of_a_zone_keep_their_offset_then_they_are_dates_and_meet_the_future(
    freq: str | None,
) -> None:
    for zone in ("America/New_York", "Asia/Tokyo"):
        days = pd.date_range("2024-02-20", periods=21, tz=zone)  # the clock changes after the history
        frame = dated(days[:14], promo=0.0)
        ahead = pd.DataFrame({"unique_id": "A", "ds": days[14:], "promo": np.arange(7.0)})
        (request,) = series_requests(frame, ahead, PROMO, freq=freq, h=7)
        assert request.ds == to_datetimes(days[:14].tz_localize(None).to_numpy())
        assert request.futr_exog["promo"][14:] == list(np.arange(7.0))


def test_when_a_category_is_a_number_or_a_truth_value_then_it_is_the_text_of_an_upload() -> None:
    roles = Roles(
        stat_exog=("shop", "open", "brand"),
        futr_exog=("kind",),
        hist_exog=("up",),
        categorical=("shop", "open", "brand", "kind"),
    )
    frame = dated(
        pd.date_range("2024-01-01", periods=30),
        shop=7,
        open=True,
        brand=pd.Categorical(["x"] * 30),
        kind=pd.array([1, None] * 15, dtype="Int64"),
        up=[True, False] * 15,
    )
    (request,) = series_requests(frame, None, roles)
    panel = as_upload(frame, roles)
    assert request.stat_exog == {"shop": "7", "open": "true", "brand": "x"}
    assert request.stat_exog == {name: panel.static[name][0].as_py() for name in request.stat_exog}
    assert request.futr_exog["kind"] == panel.future["kind"].to_pylist() == ["1", None] * 15
    assert request.hist_exog["up"] == panel.target["up"].to_pylist() == [1.0, 0.0] * 15


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (history(y=np.inf), "column y, history, row 1: 'inf'"),
        (history(ds=pd.NaT), "column ds does not hold times, history, row 1: the cell is empty"),
        (history(unique_id=None), "the row has no unique_id"),
        (history(ds=[f"0{day}/02/2024" for day in range(10)][::-1]), "ds"),
        (history(promo=["many"] * 10), "column promo, history, row 1: 'many'"),
    ],
)
def test_when_an_upload_would_reject_a_row_then_a_request_does_and_names_it(frame: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        series_requests(frame, None, PROMO)


def test_when_a_static_column_varies_then_it_is_named() -> None:
    with pytest.raises(InvalidInput, match="series 'A': city is static and has the values 'x' and 'z'"):
        series_requests(
            history(city=["x"] * 9 + ["z"]), None, Roles(stat_exog=("city",), categorical=("city",))
        )


def test_when_columns_have_usual_names_then_they_are_taken_as_in_an_upload() -> None:
    frame = history().rename(columns={"unique_id": "item_id", "ds": "date", "y": "sales"})
    ahead = future(JANUARY).rename(columns={"unique_id": "item_id", "ds": "timestamp"})
    assert series_requests(frame, ahead, PROMO) == series_requests(history(), future(JANUARY), PROMO)


def test_when_a_history_has_as_many_rows_as_the_horizon_then_its_values_stay_its_own() -> None:
    (request,) = series_requests(history(), None, PROMO, freq="D", h=10, horizon=14)
    assert request.futr_exog["promo"] == [0.0] * 10 + [None] * 10
    (request,) = series_requests(history(), None, PROMO, freq="D", h=7, horizon=14)
    assert request.futr_exog["promo"] == [0.0] * 10


@pytest.mark.parametrize("unique_id", [".", ".."])
def test_when_no_address_leads_to_an_id_then_neither_a_frame_nor_a_path_takes_it(unique_id: str) -> None:
    with pytest.raises(InvalidInput, match="no address leads to it"):
        series_requests(history(unique_id=unique_id), None, Roles())
    with pytest.raises(InvalidInput, match="no address leads to"):
        quote_segment(unique_id)
