"""A forecast drawn in text: history and median as braille lines over shaded intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

SHADES = ("▒", "░", "·")  # the narrowest interval first
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # braille bits, [row, column]
_EMPTY = 0x2800  # the braille character without dots


@dataclass(frozen=True)
class Line:
    """Values at times, sorted; None breaks the line."""

    name: str
    times: Sequence[datetime]
    values: Sequence[float | None]


@dataclass(frozen=True)
class Band:
    """An interval; narrower ones come before wider ones."""

    name: str
    times: Sequence[datetime]
    low: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True)
class PlotCell:
    """A character and what it shows: the name of a line or band, `axis`, or nothing."""

    text: str
    shows: str = ""
    over: str = ""
    """The band behind a line."""


@dataclass
class Plot:
    """`width` and `height` count characters, axes included."""

    lines: Sequence[Line]
    bands: Sequence[Band] = ()
    cutoff: datetime | None = None
    width: int = 80
    height: int = 18
    _low: float = field(init=False)
    _high: float = field(init=False)

    def __post_init__(self) -> None:
        values: list[float] = []
        times: list[datetime] = []
        for line in self.lines:
            values += [value for value in line.values if value is not None and math.isfinite(value)]
            times += line.times
        for band in self.bands:
            values += [value for value in (*band.low, *band.high) if math.isfinite(value)]
            times += band.times
        if not values or not times:
            raise ValueError("nothing to draw: no line has a value")
        self._low, self._high = min(values), max(values)
        if self._low == self._high:
            self._low, self._high = self._low - 1, self._high + 1
        self._start, self._end = min(times), max(times)
        self._labels = self._y_labels()
        self._margin = max(len(text) for text in self._labels.values()) + 2
        self._columns = max(10, self.width - self._margin)

    def rows(self) -> list[list[PlotCell]]:
        """Return the picture, top row first, with its axes."""
        grid = self._draw_bands()
        for line in self.lines:
            self._draw_line(line, grid)
        picture = [self._y_axis(row, cells) for row, cells in enumerate(grid)]
        return [*picture, self._x_axis(), self._x_labels()]

    def text(self) -> str:
        """Return the picture without colours."""
        return "\n".join("".join(cell.text for cell in row).rstrip() for row in self.rows())

    @property
    def _rows(self) -> int:
        return max(4, self.height - 2)

    def _draw_bands(self) -> list[list[PlotCell]]:
        grid = [[PlotCell(" ") for _ in range(self._columns)] for _ in range(self._rows)]
        for shade, band in reversed(list(zip(SHADES, self.bands, strict=False))):
            for column in range(self._columns):
                span = self._band_rows(band, column)
                if span:
                    for row in range(span[0] // 4, span[1] // 4 + 1):
                        grid[row][column] = PlotCell(shade, band.name)
        if self.cutoff and self._start <= self.cutoff <= self._end:
            column = self._dot_column(self.cutoff) // 2
            for cells in grid:
                cells[column] = PlotCell("┊", "axis", cells[column].shows)
        return grid

    def _band_rows(self, band: Band, column: int) -> tuple[int, int] | None:
        """Return the dot rows, top and bottom, that a band covers in a column of characters."""
        at = 2 * column + 0.5
        xs = [self._dot_column(time) for time in band.times]
        if not xs or not xs[0] - 1 <= at <= xs[-1] + 1:
            return None
        return self._dot_row(_interpolate(xs, band.high, at)), self._dot_row(_interpolate(xs, band.low, at))

    def _draw_line(self, line: Line, grid: list[list[PlotCell]]) -> None:
        bits: dict[tuple[int, int], int] = {}
        for x, y in self._line_dots(line):
            cell = y // 4, x // 2
            bits[cell] = bits.get(cell, 0) | _DOTS[y % 4][x % 2]
        for (row, column), mask in bits.items():
            current = grid[row][column]
            if _is_braille(current.text):
                mask |= ord(current.text) - _EMPTY
            band = current.shows if current.text in SHADES else current.over
            grid[row][column] = PlotCell(chr(_EMPTY + mask), line.name, band)

    def _line_dots(self, line: Line) -> Iterator[tuple[int, int]]:
        previous: tuple[int, int] | None = None
        for time, value in zip(line.times, line.values, strict=True):
            if value is None or not math.isfinite(value):
                previous = None
                continue
            point = self._dot_column(time), self._dot_row(value)
            yield from _segment_dots(previous or point, point)
            previous = point

    def _dot_column(self, time: datetime) -> int:
        """Dot column of a time, from the left."""
        whole = (self._end - self._start).total_seconds() or 1.0
        return round((time - self._start).total_seconds() / whole * (2 * self._columns - 1))

    def _dot_row(self, value: float) -> int:
        """Dot row of a value, from the top."""
        share = (self._high - min(max(value, self._low), self._high)) / (self._high - self._low)
        return round(share * (4 * self._rows - 1))

    def _y_labels(self) -> dict[int, str]:
        """Round numbers by the row of characters that they belong to."""
        step = _round_step((self._high - self._low) / 4)
        multiples = range(math.ceil(self._low / step), math.floor(self._high / step) + 1)
        return {self._dot_row(k * step) // 4: _format_tick(k * step, step) for k in multiples} or {
            0: f"{self._high:.4g}"
        }

    def _y_axis(self, row: int, cells: list[PlotCell]) -> list[PlotCell]:
        label = self._labels.get(row, "")
        mark = "┤" if label else "│"
        return [PlotCell(f"{label:>{self._margin - 2}} {mark}", "axis"), *cells]

    def _x_axis(self) -> list[PlotCell]:
        return [PlotCell(" " * (self._margin - 1) + "└" + "─" * self._columns, "axis")]

    def _x_labels(self) -> list[PlotCell]:
        """Return the first, the last and the forecast's own time, where they fit."""
        form = "%Y-%m-%d %H:%M" if (self._end - self._start).days < 30 else "%Y-%m-%d"
        first, last = self._start.strftime(form), self._end.strftime(form)
        if len(first) + 1 + len(last) > self._columns:
            return [PlotCell(" " * self._margin + first[: self._columns].ljust(self._columns), "axis")]
        line = list(first.ljust(self._columns - len(last)) + last)
        if self.cutoff and self._start <= self.cutoff <= self._end:
            text = self.cutoff.strftime(form.removeprefix("%Y-") if "%H" in form else form)
            start = self._dot_column(self.cutoff) // 2 - len(text) // 2
            if len(first) + 1 < start and start + len(text) + 1 < self._columns - len(last):
                line[start : start + len(text)] = text
        return [PlotCell(" " * self._margin + "".join(line), "axis")]


def _is_braille(text: str) -> bool:
    return len(text) == 1 and _EMPTY < ord(text) < _EMPTY + 256


def _round_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)


def _format_tick(value: float, step: float) -> str:
    digits = max(0, -math.floor(math.log10(step)))
    text = f"{value:.{digits}f}" if digits <= 6 else f"{value:.4g}"
    return text if len(text) <= 8 else f"{value:.4g}"


def _interpolate(xs: Sequence[int], values: Sequence[float], at: float) -> float:
    """Linear between the points, constant beyond them."""
    after = next((i for i, x in enumerate(xs) if x >= at), len(xs) - 1)
    if after == 0 or xs[after] < at or xs[after] == xs[after - 1]:
        return values[after]
    share = (at - xs[after - 1]) / (xs[after] - xs[after - 1])
    return values[after - 1] + share * (values[after] - values[after - 1])


def _segment_dots(start: tuple[int, int], end: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Return the dots from one to the other, both included."""
    steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    for i in range(steps + 1):
        yield (
            start[0] + round(i * (end[0] - start[0]) / steps),
            start[1] + round(i * (end[1] - start[1]) / steps),
        )
