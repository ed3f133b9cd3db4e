"""The time after a forecast, from the client: live accuracy, anomalies, drift."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from quantis.client.bodies import format_query_time
from quantis.client.monitoring.alerts import AlertsMixin
from quantis.client.monitoring.experiments import OnlineExperimentsMixin
from quantis.client.protocol import ApiCaller
from quantis.types.operations.anomalies import DatasetAnomalies
from quantis.types.operations.drift import DatasetDrift
from quantis.types.operations.live import LiveAccuracy, LiveDimension, VintageKind
from quantis.types.operations.reproduction import Reproduction
from quantis.types.registry import Serving

_PAGE = 500


class OperationsMixin(AlertsMixin, OnlineExperimentsMixin):
    """Mixed into the client."""

    def live(
        self: ApiCaller,
        model: str,
        by: LiveDimension | str = LiveDimension.day,
        *,
        version: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        kinds: Sequence[VintageKind | str] | None = None,
        limit: int = 10_000,
    ) -> LiveAccuracy:
        """Return the accuracy of a model's issued forecasts on the actuals that came after them.

        `by` is day, series, step, version, segment or method; `since` and `until` bound the actuals' `ds`. Online and
        batch forecasts count by default.
        """
        parameters: dict[str, Any] = {
            "by": str(LiveDimension(by)),
            "version": version,
            "since": format_query_time(since),
            "until": format_query_time(until),
            "kind": [str(VintageKind(kind)) for kind in kinds] if kinds else None,
        }
        path = f"/models/{quote(model, safe='')}/live"
        page = self._get(LiveAccuracy, path, limit=min(limit, _PAGE), **parameters)
        items = list(page.items)
        while page.next_cursor and len(items) < limit:
            page = self._get(LiveAccuracy, path, limit=_PAGE, cursor=page.next_cursor, **parameters)
            items += page.items
        return page.model_copy(update={"items": items[:limit]})

    def anomalies(
        self: ApiCaller,
        dataset: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        model: str | None = None,
        limit: int = 10_000,
    ) -> DatasetAnomalies:
        """Return the actuals far outside the latest forecast that preceded them, those that arrived last first.

        `since` and `until` bound the arrival, the last 30 days by default; `model` takes its forecasts alone.
        """
        parameters: dict[str, Any] = {
            "since": format_query_time(since), "until": format_query_time(until), "model": model
        }  # fmt: skip
        path = f"/datasets/{quote(dataset, safe='')}/anomalies"
        page = self._get(DatasetAnomalies, path, limit=min(limit, _PAGE), **parameters)
        items = list(page.items)
        while page.next_cursor and len(items) < limit:
            page = self._get(DatasetAnomalies, path, limit=_PAGE, cursor=page.next_cursor, **parameters)
            items += page.items
        return page.model_copy(update={"items": items[:limit]})

    def drift(self: ApiCaller, dataset: str, *, model: str | None = None) -> DatasetDrift:
        """Return which columns' last points differ from those before, and how fresh the dataset is.

        With `model` its residuals on the dataset are tested, too.
        """
        return self._get(DatasetDrift, f"/datasets/{quote(dataset, safe='')}/drift", model=model)

    def serving_at(self: ApiCaller, model: str, time: datetime) -> Serving:
        """Return which versions answered a model's name at a time, and by what share of its series."""
        return self._get(Serving, f"/models/{quote(model, safe='')}/at", time=format_query_time(time))

    def reproduce(self: ApiCaller, forecast_id: str) -> Reproduction:
        """Make an issued forecast again from what was known, by the versions that made it, and compare the numbers."""
        return self._get(Reproduction, f"/forecasts/{quote(forecast_id, safe='')}/reproduction")
