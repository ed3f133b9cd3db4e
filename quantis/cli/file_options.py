"""Options of how to read a file, and tables written by the suffix of a path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantis.cli import output
from quantis.cli.options import split_names
from quantis.errors import InvalidInput

if TYPE_CHECKING:
    import pyarrow as pa

    from quantis.types.datasets import DatasetSpec, Roles
    from quantis.types.reading import ReadOptions

Delimiter = Annotated[str | None, typer.Option(help="Between cells of a CSV: , ; | or tab; found out.")]
Decimal = Annotated[str | None, typer.Option(help="Decimal mark of a CSV: . or ,; found out when absent.")]
Encoding = Annotated[str | None, typer.Option(help="Encoding of a CSV, such as cp1252; found out.")]
Dates = Annotated[str | None, typer.Option(help="Order of dates: ymd, dmy or mdy.")]
Zone = Annotated[str | None, typer.Option(help="Zone of times without one, such as Europe/Berlin.")]
Mapping = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="date=ds", help="A column of the file and the name it is to have."),
]
TargetCopies = Annotated[
    str | None, typer.Option(help="Known-future columns that equal y on purpose, with commas.")
]


def read_options(
    delimiter: str | None,
    decimal: str | None,
    encoding: str | None,
    dates: str | None,
    mapping: list[str] | None,
    time_zone: str | None = None,
    *,
    target_copies: str | None = None,
) -> ReadOptions:
    """Build the read options of a file; a usage error names what does not fit."""
    from quantis.client.problems import validate
    from quantis.types.reading import ReadOptions

    pairs = [text.rpartition("=")[::2] for text in mapping or ()]
    for old, new in pairs:
        if not old or not new:
            raise typer.BadParameter("--map takes a column and its new name, such as date=ds")
    values: dict[str, Any] = {
        "delimiter": "\t" if delimiter in ("tab", "\\t") else delimiter,
        "decimal": decimal,
        "encoding": encoding,
        "dates": dates,
        "time_zone": time_zone,
        "columns": dict(pairs),
        "target_copies": split_names(target_copies),
    }
    return validate(ReadOptions, **{key: value for key, value in values.items() if value is not None})


def parse_source(text: str) -> Path | str:
    """Return a file that exists, or an address for the platform to fetch from; a usage error for what is neither."""
    if "://" in text:
        return text
    path = Path(text)
    if not path.is_file() or not os.access(path, os.R_OK):
        raise typer.BadParameter(f"there is no file {text!r} that can be read", param_hint="FILE")
    return path


def spec_from_options(
    futr: str | None, hist: str | None, static: str | None, categorical: str | None, freq: str | None
) -> DatasetSpec | None:
    """Build the declaration from options; None without any, so that roles are detected."""
    from quantis.client.problems import validate
    from quantis.types.datasets import DatasetSpec

    roles = {
        "futr_exog": split_names(futr),
        "hist_exog": split_names(hist),
        "stat_exog": split_names(static),
        "categorical": split_names(categorical),
    }
    return validate(DatasetSpec, name="check", roles=roles, freq=freq) if any(roles.values()) else None


def detect_roles(file: Path, options: ReadOptions) -> Roles:
    """Return the roles that a file suggests, and report them."""
    from quantis.sandbox.client import check_untrusted_file

    _, _, spec = check_untrusted_file(file, name=file.name, options=options)
    roles = spec.roles
    descriptions = [*(f"{c} observed" for c in roles.hist_exog), *(f"{c} static" for c in roles.stat_exog)]
    if descriptions:
        output.report(f"roles found: {', '.join(descriptions)}; declare what is known in advance with --futr")
    return roles


def write_table(table: pa.Table, path: Path, *, for_spreadsheets: bool = False) -> None:
    """Write a table as CSV, Parquet or Arrow, by the suffix of the path; whole or not at all.

    `for_spreadsheets` keeps texts of a CSV from being run as formulas.
    """
    import pyarrow as pa
    import pyarrow.csv as pacsv
    import pyarrow.parquet as pq

    from quantis.reading.delimited import escape_formulas

    temporary = path.with_name(f".{path.name}.partial")
    if path.suffix == ".csv":
        pacsv.write_csv(escape_formulas(table) if for_spreadsheets else table, temporary)
    elif path.suffix == ".parquet":
        pq.write_table(table, temporary, compression="zstd")
    elif path.suffix == ".arrow":
        with pa.ipc.new_file(str(temporary), table.schema) as file:
            file.write_table(table)
    else:
        raise InvalidInput(f"{path.name} ends in none of .csv, .parquet and .arrow; name the kind by its end")
    temporary.replace(path)
