"""CSV as batches: numbers where a whole column holds numbers, else texts as they stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from quantis.reading.batches import Batches
from quantis.reading.column_aliases import is_key
from quantis.reading.csv_faults import MAX_ROW_BYTES, check_end, check_header, check_quotes, translate_errors
from quantis.reading.dialect import Dialect, detect_dialect
from quantis.reading.exact_numbers import MAX_EXACT, find_inexact
from quantis.reading.limits import ReadLimits, check_names
from quantis.reading.sources import Source
from quantis.types.reading import ReadOptions

_NULLS = ("", "NA", "N/A", "n/a", "#N/A", "NULL", "null", "NaN", "nan", "-NaN", "-nan", "None", "none")
_LEADING_ZERO = r"^[+-]?0\d"
_TEXT, _FLAG, _NUMBER = pa.string(), pa.bool_(), pa.float64()
_FORMULA = r"^([\t\r\n]|[\s\p{C}\p{Z}]*[=+\-@\x{2212}\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}\x{FE66}\x{FE62}\x{FE63}\x{FE6B}])"
"""Text that a spreadsheet would run as a formula, also behind blanks or in full width, as the dashboard has it."""


def csv_batches(source: Source, name: str, limits: ReadLimits, options: ReadOptions) -> Batches:
    """Kinds are guessed from the first rows; a later cell that does not fit settles them for the file."""
    dialect = detect_dialect(source, name, options)
    with translate_errors(source, name, dialect):
        first = _open_csv(source, dialect, None)
        names = first.schema.names
        check_header(names, name)
        check_names(names, name, limits)
        forced = {column for column in names if column in options.texts or is_key(column, names, options)}
        kinds = _infer_kinds(_first_batch(first), forced, dialect) or dict.fromkeys(names, _TEXT)
    stream = _CsvStream(source, name, dialect, kinds, forced)
    return Batches(stream.schema, stream, source.packed, list(dialect.notes))


def escape_formulas(table: pa.Table) -> pa.Table:
    """Return a table whose texts a spreadsheet shows and does not run: those that look like formulas begin with a '."""
    for index, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            texts = pc.replace_substring_regex(table[field.name], _FORMULA, r"'\1")
            table = table.set_column(index, field, texts)
    return table


class _CsvStream:
    """Batches of the columns' kinds, which are settled before the first batch."""

    def __init__(
        self, source: Source, name: str, dialect: Dialect, kinds: dict[str, pa.DataType], forced: set[str]
    ) -> None:
        self._source, self._name, self._dialect = source, name, dialect
        self.forced = forced
        self._infer_kinds = kinds
        if not self._kinds_fit():
            with translate_errors(source, name, dialect):
                self._infer_kinds = _infer_kinds(_open_csv(source, dialect, None), forced, dialect)
        self.schema = pa.schema([pa.field(column, kind) for column, kind in self._infer_kinds.items()])

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        with translate_errors(self._source, self._name, self._dialect):
            last = None
            for batch in _open_csv(self._source, self._dialect, self._infer_kinds):
                check_quotes(batch, self._source, self._name, self._dialect)
                last = batch if batch.num_rows else last
                yield self._normalize_decimals(batch) if self._dialect.decimal == "," else batch
            if last is not None:
                check_end(last, self._source, self._name, self._dialect)

    def _kinds_fit(self) -> bool:
        """Return True if every cell is sure to be of its column's kind; a single batch is not read again."""
        if self._source.size <= MAX_ROW_BYTES:
            return True
        with translate_errors(self._source, self._name, self._dialect):
            try:
                for batch in _open_csv(self._source, self._dialect, self._infer_kinds):
                    if _may_lose_digits(batch):
                        return False
            except pa.ArrowInvalid as error:
                if "conversion error" in str(error):
                    return False
                raise
        return True

    def _normalize_decimals(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Numbers among the texts of a mixed column, with a point as decimal mark."""
        columns = [
            pc.replace_substring_regex(column, r"^([+-]?\d+),(\d+)$", r"\1.\2")
            if field.type == _TEXT and field.name not in self.forced
            else column
            for field, column in zip(batch.schema, batch.columns, strict=True)
        ]
        return pa.record_batch(columns, schema=batch.schema)


def _open_csv(
    source: Source, dialect: Dialect, kinds: dict[str, pa.DataType] | None
) -> pacsv.CSVStreamingReader:
    """Open a reader of texts, or of the given kinds."""
    if kinds is None:
        return _open_csv(source, dialect, dict.fromkeys(_open_csv(source, dialect, {}).schema.names, _TEXT))
    return pacsv.open_csv(
        source.open(),
        read_options=pacsv.ReadOptions(
            use_threads=False, block_size=MAX_ROW_BYTES, encoding=_arrow_encoding(dialect)
        ),
        parse_options=pacsv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char=dialect.quote or False,
            newlines_in_values=dialect.lines_in_cells,
        ),
        convert_options=pacsv.ConvertOptions(
            column_types=kinds,
            decimal_point=dialect.decimal,
            null_values=list(_NULLS),
            strings_can_be_null=False,
            true_values=["true", "True", "TRUE"],
            false_values=["false", "False", "FALSE"],
        ),
    )


def _first_batch(reader: pacsv.CSVStreamingReader) -> list[pa.RecordBatch]:
    try:
        return [reader.read_next_batch()]
    except StopIteration:  # a header only
        return []


def _arrow_encoding(dialect: Dialect) -> str:
    return "utf8" if dialect.encoding == "utf-8" else dialect.encoding


def _infer_kinds(
    batches: Iterable[pa.RecordBatch], forced: set[str], dialect: Dialect
) -> dict[str, pa.DataType]:
    """Return the narrowest kind that holds every cell of each column: flag, number or text."""
    kind_by_column: dict[str, pa.DataType | None] = {}
    for batch in batches:
        for field, column in zip(batch.schema, batch.columns, strict=True):
            previous = kind_by_column.setdefault(field.name, _TEXT if field.name in forced else None)
            if previous == _TEXT:
                continue
            kind = _infer_kind(column, dialect)
            if kind is not None:
                kind_by_column[field.name] = kind if previous in (None, kind) else _TEXT
    return {name: kind or _NUMBER for name, kind in kind_by_column.items()}


def _infer_kind(column: pa.Array, dialect: Dialect) -> pa.DataType | None:
    """Return the kind of a column; None where every cell is empty."""
    values = column.dictionary_encode().dictionary
    values = values.filter(pc.invert(pc.is_in(values, pa.array(_NULLS))))
    if len(values) == 0:
        return None
    if pc.all(pc.is_in(pc.utf8_lower(values), pa.array(["true", "false"]))).as_py():
        return _FLAG
    if pc.any(pc.match_substring_regex(values, _LEADING_ZERO)).as_py():
        return _TEXT  # codes such as 007 are no quantities
    trimmed = pc.utf8_trim_whitespace(values)
    if dialect.decimal == ",":
        if pc.any(pc.match_substring(trimmed, ".")).as_py():
            return _TEXT
        trimmed = pc.replace_substring(trimmed, ",", ".")
    try:
        numbers = trimmed.cast(_NUMBER)
    except pa.ArrowInvalid:
        return _TEXT
    return _TEXT if _loses_digits(trimmed, numbers) else _NUMBER


def _loses_digits(texts: pa.Array, numbers: pa.Array) -> bool:
    """Return True where numbers are others than their texts say, which the check is to name."""
    too_large = pc.and_(pc.is_inf(numbers), pc.match_substring_regex(texts, r"\d"))
    return bool(pc.any(too_large).as_py()) or find_inexact(texts, numbers) is not None


def _may_lose_digits(batch: pa.RecordBatch) -> bool:
    """Return True if a number of the batch may not be the one that was written."""
    columns = [column for column in batch.columns if column.type == _NUMBER]
    return any((pc.max(pc.abs(column)).as_py() or 0.0) >= MAX_EXACT for column in columns)
