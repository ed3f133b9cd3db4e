"""Faults of a CSV as its writer looks for them: lines with other counts of cells, quotes that stay open, no header."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from quantis.errors import InvalidInput, QuantisError, TooLarge
from quantis.reading.column_aliases import describe_values_as_header
from quantis.reading.dialect import Dialect
from quantis.reading.limits import MIB, printable
from quantis.reading.sources import Source

MAX_ROW_BYTES = MIB
_SCANNED_BYTES = 64 * MIB  # of a file that are looked through for a line
_CELL_COUNT = re.compile(r"Expected (\d+) columns, got (\d+): (.*)", re.DOTALL)
_SHOWN, _MAX_NAMES = 60, 8  # letters of a line, and columns of a header


@contextmanager
def translate_errors(source: Source, name: str, dialect: Dialect) -> Iterator[None]:
    """Translate errors of the CSV reader into errors of the file."""
    try:
        yield
    except pa.ArrowInvalid as error:
        raise _translate(error, source, name, dialect) or error from error
    except UnicodeError as error:
        raise InvalidInput(f"{name} is not text in the encoding that was given or found; say it") from error


def check_header(names: Sequence[str], name: str) -> None:
    """Raise InvalidInput for a first line that cannot be a header since it holds values, some of them twice or none."""
    if all(names) and len(set(names)) == len(names):
        return
    values = describe_values_as_header(names)
    if values:
        raise InvalidInput(f"{name} has no header: {values}; add a first line such as unique_id,ds,y")


def check_quotes(batch: pa.RecordBatch, source: Source, name: str, dialect: Dialect) -> None:
    """Raise InvalidInput for a cell that swallowed the cells behind it, since its quote was not closed."""
    for column in batch.columns if dialect.lines_in_cells else ():
        if column.type != pa.string():
            continue
        cells = column.filter(pc.match_substring(column, "\n"))
        # Half a pair of quotes stands in cells that go on after a closing one, and in a few that are right.
        odd = pc.bit_wise_and(pc.count_substring(cells, dialect.quote), 1)
        if pc.any(pc.equal(odd, 1)).as_py():
            _require_closed_quotes(source, name, dialect)


def check_end(batch: pa.RecordBatch, source: Source, name: str, dialect: Dialect) -> None:
    """Raise InvalidInput if the last cell of the last batch ends with the file, and not with its quote."""
    last = batch.columns[-1]
    if dialect.lines_in_cells and last.type == pa.string() and "\n" in (last[-1].as_py() or ""):
        _require_closed_quotes(source, name, dialect)


def _require_closed_quotes(source: Source, name: str, dialect: Dialect) -> None:
    line = _find_open_quote(source, dialect)
    if line is not None:
        raise _open_quote(line, source, name, dialect)


def _translate(error: pa.ArrowInvalid, source: Source, name: str, dialect: Dialect) -> QuantisError | None:
    message = str(error)
    is_empty = "mpty CSV" in message
    if "straddl" in message or (is_empty and source.size > MAX_ROW_BYTES):
        line = _find_open_quote(source, dialect)
        where = f" in line {line:,}" if line else ""
        return TooLarge(
            f"{name} has a row of more than {MAX_ROW_BYTES:,} bytes; shorten its cells, or close the quote"
            f" that runs on{where}"
        )
    if is_empty:
        return InvalidInput(f"{name} is empty; give a header and at least one row")
    counts = _CELL_COUNT.search(message)
    if counts is None:
        return None
    expected, count, row = int(counts[1]), int(counts[2]), counts[3]
    if dialect.quote and ("\n" in row or row.count(dialect.quote) % 2):
        open_line = _find_open_quote(source, dialect)
        if open_line is not None:
            return _open_quote(open_line, source, name, dialect)
    line = _find_line(row, source, dialect)
    where = f" in line {line:,}" if line else ""
    names = _header(source, dialect)
    listed = ", ".join(printable(column, 30) for column in names[:_MAX_NAMES])
    rest = f" and {len(names) - _MAX_NAMES:,} more" if len(names) > _MAX_NAMES else ""
    return InvalidInput(
        f"{name}: Expected {expected} columns, got {count}{where} ({printable(row, _SHOWN)!r}); its header has"
        f" {listed}{rest}: give every line as many cells, and quote a cell that holds {dialect.delimiter!r}"
    )


def _open_quote(line: int, source: Source, name: str, dialect: Dialect) -> InvalidInput:
    text = next(islice(_lines(source, dialect), line - 1, None), "")
    return InvalidInput(
        f"{name} opens a quote ({dialect.quote}) in line {line:,} that is not closed there, so that the next lines are"
        f" part of it: {printable(text.rstrip(), _SHOWN)!r}; close it, or double a quote that belongs to the text"
    )


def _lines(source: Source, dialect: Dialect) -> Iterator[str]:
    """Yield the lines of the first part of a file."""
    text = codecs.getincrementaldecoder(dialect.encoding)("replace").decode(source.head(_SCANNED_BYTES))
    yield from io.StringIO(text, newline=None)


def _find_line(text: str, source: Source, dialect: Dialect) -> int | None:
    """Return the number of the first line, from 1, that holds the beginning of a row or cell."""
    start = text.partition("\n")[0].rstrip("\r").removesuffix(" ...")
    for number, line in enumerate(_lines(source, dialect), 1):
        if start and start in line:
            return number
    return None


def _find_open_quote(source: Source, dialect: Dialect) -> int | None:
    """Return the line at which a row begins whose quote is closed within a text, or never."""
    if not dialect.quote:
        return None
    begins = 1
    rows = csv.reader(
        _lines(source, dialect), delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True
    )
    try:
        for _ in rows:
            begins = rows.line_num + 1
    except csv.Error:
        is_cut = source.size > _SCANNED_BYTES and rows.line_num - begins < 1
        return None if is_cut else begins
    return None


def _header(source: Source, dialect: Dialect) -> list[str]:
    first = next(_lines(source, dialect), "").lstrip("\ufeff").rstrip()
    return [cell.strip(f" {dialect.quote}") for cell in first.split(dialect.delimiter)]
