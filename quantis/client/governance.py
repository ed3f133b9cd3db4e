"""Evaluation of models, from the client: leaderboards, backtests, model cards; and the forecasts of jobs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from quantis.client.bodies import ARROW, CSV, JSON, PARQUET, format_query_time
from quantis.client.connection import Connection, Request
from quantis.client.frames import CUTOFF, cross_validation_frame, rename_quantiles
from quantis.client.protocol import ApiCaller
from quantis.errors import InvalidInput, Unavailable
from quantis.types.registry import Backtest, Dimension, Figures, Leaderboard, ModelCard

_FORMATS = {".parquet": PARQUET, ".csv": CSV, ".json": JSON, ".arrow": ARROW, ".arrows": ARROW}
_READ_SECONDS = 120.0


class GovernanceMixin:
    """Mixed into the client."""

    def leaderboard(self: ApiCaller, job_id: str) -> Leaderboard:
        """Return the leaderboard of a training job, best first."""
        return self._get(Leaderboard, f"/experiments/{quote(job_id, safe='')}/leaderboard")

    def backtest(self: ApiCaller, job_id: str) -> Backtest:
        """Return the result of a backtest job: its leaderboard, and every metric over all of it."""
        return self._get(Backtest, f"/backtests/{quote(job_id, safe='')}")

    def backtest_figures(
        self: ApiCaller, job_id: str, by: Dimension, *, model: str | None = None, limit: int = 10_000
    ) -> list[Figures]:
        """Return every metric of a backtest for each series, step, window or segment."""
        path = f"/backtests/{quote(job_id, safe='')}/{quote(by, safe='')}"
        return self._get_all(Figures, path, limit, model=model)

    def card(self: ApiCaller, ref: str) -> ModelCard:
        """Return the model card of `name` (its champion), `name@alias` or `name:7`."""
        return self._get(ModelCard, f"/models/{quote(ref, safe='@:')}/card")

    def job_forecasts(
        self: ApiCaller, job_id: str, *, series: str | Sequence[str] | None = None, name: str = "Model"
    ) -> pa.Table:
        """Return the forecasts of a forecast job in Nixtla's long form, as `forecast_frame` has them.

        The columns `status`, `method`, `reason`, `detail`, `model`, `version`, `as_of`, `issued_at` and `forecast_id`
        say of each row where it comes from; a refused series has one row, without time and value.
        """
        rows, _ = _fetch(self._connection, _forecasts_of(job_id), series=_ids(series))
        if CUTOFF in rows.column_names:
            raise InvalidInput(f"job {job_id!r} is a backtest; `cross_validation` has its forecasts")
        return rename_quantiles(rows, name)

    def cross_validation(
        self: ApiCaller, job_id: str, *, series: str | Sequence[str] | None = None
    ) -> pa.Table:
        """Return the forecasts of a backtest in Nixtla's form: `unique_id, ds, cutoff, y` and columns of each model."""
        rows, _ = _fetch(self._connection, _forecasts_of(job_id), series=_ids(series))
        if CUTOFF not in rows.column_names:
            raise InvalidInput(f"job {job_id!r} is a forecast job; `job_forecasts` has its forecasts")
        return cross_validation_frame(rows)

    def save_job_forecasts(
        self: ApiCaller, job_id: str, path: str | Path, *, series: str | Sequence[str] | None = None
    ) -> Path:
        """Save all forecasts of a forecast or backtest job, whole or not at all, without holding them in memory.

        The end of the path says how: .parquet, .csv, .json, .arrow (a file) or .arrows (a stream). In a CSV, texts
        that a spreadsheet would run as formulas begin with a '.
        """
        target = Path(path)
        kind = _FORMATS.get(target.suffix.lower())
        if kind is None:
            raise InvalidInput(
                f"{target.name} ends in none of {', '.join(_FORMATS)}; name the kind by its end"
            )
        request = Request(
            "GET", f"/v1{_forecasts_of(job_id)}", {"series": _ids(series)}, headers={"Accept": kind}
        )
        partial = target.with_name(f".{target.name}.partial")
        try:
            with (
                self._connection.stream(request, read_timeout=_READ_SECONDS) as response,
                partial.open("wb") as file,
            ):
                for chunk in response.iter_bytes():
                    file.write(chunk)
            if target.suffix.lower() == ".arrow":
                _stream_to_file(partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return target

    def issued_forecasts(
        self: ApiCaller,
        *,
        model: str | None = None,
        series: str | Sequence[str] | None = None,
        issued_after: datetime | None = None,
        limit: int = 1000,
    ) -> pa.Table:
        """Return up to `limit` issued forecasts, newest first: a row per series and step, a column per quantile."""
        filters: dict[str, Any] = {
            "model": model, "series": _ids(series), "issued_after": format_query_time(issued_after)
        }  # fmt: skip
        pages: list[pa.Table] = []
        cursor = None
        while limit > 0:
            size = min(limit, 100)
            table, cursor = _fetch(self._connection, "/forecasts", **filters, limit=size, cursor=cursor)
            pages.append(table)
            limit -= size
            if cursor is None:
                break
        return pa.concat_tables(pages, promote_options="default") if pages else pa.table({})


def _forecasts_of(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}/forecasts"


def _ids(series: str | Sequence[str] | None) -> list[str] | None:
    return [series] if isinstance(series, str) else None if series is None else list(series)


def _fetch(connection: Connection, path: str, **params: Any) -> tuple[pa.Table, str | None]:
    """Return a table and the cursor of its next page, if there is one."""
    request = Request("GET", f"/v1{path}", params, headers={"Accept": ARROW}, repeatable=True)
    response = connection.send(request)
    try:
        table = pa.ipc.open_stream(io.BytesIO(response.content)).read_all()
    except pa.ArrowInvalid as error:
        raise Unavailable(
            f"GET {connection.url}{request.path} answered what is no Arrow stream; is this address "
            "a Quantis server, and of this client's version?"
        ) from error
    following = response.links.get("next", {}).get("url")
    return table, response.url.join(following).params["cursor"] if following else None


def _stream_to_file(path: Path) -> None:
    """Rewrite an Arrow stream as an Arrow file, batch by batch."""
    rewritten = path.with_name(f"{path.name}.file")
    try:
        with (
            pa.OSFile(str(path)) as source,
            pa.ipc.open_stream(source) as reader,
            pa.ipc.new_file(str(rewritten), reader.schema) as writer,
        ):
            for batch in reader:
                writer.write_batch(batch)
        rewritten.replace(path)
    finally:
        rewritten.unlink(missing_ok=True)
