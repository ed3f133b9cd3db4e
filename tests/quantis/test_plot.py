"""A forecast drawn in text says what its numbers say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantis.plot import SHADES, Band, Line, Plot

START = datetime(2024, 1, 1, tzinfo=UTC)


def times(first: int, count: int) -> list[datetime]:
    return [START + timedelta(hours=first + i) for i in range(count)]


def inside(plot: Plot) -> list[str]:
    """The picture without its axes, one text per row."""
    return ["".join(cell.text for cell in row[1:]) for row in plot.rows()[:-2]]


def test_when_a_line_rises_then_it_goes_from_the_lower_left_to_the_upper_right() -> None:
    rows = inside(Plot([Line("history", times(0, 10), [float(i) for i in range(10)])], width=60, height=12))
    assert rows[-1].strip(" ⠀")
    assert rows[-1].find("⢀") < len(rows[-1]) // 4
    heights = [next(r for r, row in enumerate(rows) if row[c] != " ") for c in range(len(rows[0]))]
    assert heights == sorted(heights, reverse=True)
    assert (heights[0], heights[-1]) == (len(rows) - 1, 0)


def test_when_a_value_is_missing_then_the_line_has_a_gap() -> None:
    whole = Plot([Line("history", times(0, 9), [1.0] * 9)], width=60, height=8)
    gap = Plot([Line("history", times(0, 9), [1.0] * 3 + [None] * 3 + [1.0] * 3)], width=60, height=8)
    drawn = ["".join(row).replace(" ", "") for row in (inside(whole), inside(gap))]
    assert len(drawn[1]) < 0.75 * len(drawn[0])


def test_when_there_are_two_bands_then_the_wider_one_shows_outside_the_narrower_one() -> None:
    ahead = times(10, 10)
    bands = [Band("80 %", ahead, [3.0] * 10, [7.0] * 10), Band("95 %", ahead, [0.0] * 10, [10.0] * 10)]
    plot = Plot([Line("history", times(0, 10), [5.0] * 10)], bands, width=60, height=20)
    column = [row[-1] for row in inside(plot)]
    first, last = column.index(SHADES[0]), len(column) - 1 - column[::-1].index(SHADES[0])
    assert 0 < first < last < len(column) - 1
    assert set(column[:first]) == {SHADES[1]} == set(column[last + 1 :])
    assert set(column[first : last + 1]) == {SHADES[0]}
    assert not set(SHADES) & {row[0] for row in inside(plot)}


def test_when_a_line_runs_over_a_band_then_the_cell_remembers_the_band() -> None:
    ahead = times(0, 5)
    plot = Plot([Line("median", ahead, [1.0] * 5)], [Band("80 %", ahead, [0.0] * 5, [2.0] * 5)], width=40)
    over = {cell.over for row in plot.rows() for cell in row if cell.shows == "median"}
    assert over == {"80 %"}


def test_when_axes_are_labelled_then_with_round_numbers_and_the_ends_of_time() -> None:
    text = Plot([Line("history", times(0, 100), [i / 7 for i in range(100)])], cutoff=START, width=70).text()
    assert [line.split("┤")[0].strip() for line in text.splitlines() if "┤" in line] == ["10", "5", "0"]
    assert text.splitlines()[-1].split("  ")[-1].strip() == "2024-01-05 03:00"
    assert "2024-01-01 00:00" in text


def test_when_there_is_no_value_then_it_says_so() -> None:
    with pytest.raises(ValueError, match="no line has a value"):
        Plot([Line("history", times(0, 2), [None, None])])


VALUES = st.lists(st.none() | st.floats(-1e12, 1e12), min_size=1, max_size=50).filter(
    lambda values: any(v is not None for v in values)
)


@settings(deadline=None, max_examples=60)
@given(VALUES, st.integers(20, 140), st.integers(6, 40))
def test_whatever_is_drawn_then_every_row_has_the_width_asked_for(
    values: list[float | None], width: int, height: int
) -> None:
    plot = Plot([Line("history", times(0, len(values)), values)], width=width, height=height)
    rows = plot.rows()
    widths = {sum(len(cell.text) for cell in row) for row in rows}
    assert len(widths) == 1
    assert len(rows) == max(height, 6)
    if plot._margin + 10 <= width:
        assert widths == {width}
