"""`python -m monitoring.grafana.build`: write the Grafana dashboard that is kept beside this file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TARGET = Path(__file__).with_name("quantis.json")
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
RATE = "[$__rate_interval]"


@dataclass(frozen=True)
class GrafanaPanel:
    """A panel; `queries` are (expression, legend), the width is in 24ths."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    about: str = ""
    alarm: float | None = None


@dataclass(frozen=True)
class GrafanaRow:
    title: str
    panels: tuple[GrafanaPanel, ...]


def quantile(share: float, metric: str, *by: str) -> str:
    return f"histogram_quantile({share}, sum by ({', '.join(('le', *by))}) (rate({metric}_bucket{RATE})))"


def rate(metric: str, *by: str, where: str = "") -> str:
    return (
        f"sum by ({', '.join(by)}) (rate({metric}{where}{RATE}))"
        if by
        else f"sum(rate({metric}{where}{RATE}))"
    )


REQUESTS = "quantis_http_requests_total"
ENTRIES = "quantis_forecast_entries_total"
FAILING = "({} or vector(0)) / {}".format(rate(REQUESTS, where='{status=~"5.."}'), rate(REQUESTS))
FROM_MODEL = "({} or vector(0)) / {}".format(rate(ENTRIES, where='{method="model"}'), rate(ENTRIES))
MISSES_OVER_ALLOWED = "{} / {}".format(
    rate("quantis_interval_misses_total", "model"), rate("quantis_interval_misses_expected_total", "model")
)

ROWS = (
    GrafanaRow(
        "State",
        (
            GrafanaPanel(
                "Version",
                (
                    (
                        "max by (version, ray_version) (quantis_build_info)",
                        "Quantis {{version}}, Ray {{ray_version}}",
                    ),
                ),
                kind="stat",
                width=6,
            ),
            GrafanaPanel(
                "Reconciler lease",
                (("max(quantis_reconciler_lease_held)", "held"),),
                kind="stat",
                width=4,
                about="1 while some process submits jobs; 0 means that no job will start.",
            ),
            GrafanaPanel(
                "Outbox",
                (("max(quantis_outbox_pending)", "pending"),),
                kind="stat",
                width=4,
                alarm=10,
                about="Jobs accepted but not yet handed to Ray.",
            ),
            GrafanaPanel(
                "Requests failing", ((FAILING, "5xx"),), unit="percentunit", kind="stat", width=5, alarm=0.01
            ),
            GrafanaPanel(
                "Answers from the model",
                ((FROM_MODEL, "model"),),
                unit="percentunit",
                kind="stat",
                width=5,
                about="The others came from a simpler method of the fallback chain.",
            ),
        ),
    ),
    GrafanaRow(
        "Requests",
        (
            GrafanaPanel("Requests by route", ((rate(REQUESTS, "route"), "{{route}}"),), unit="reqps"),
            GrafanaPanel(
                "Latency",
                (
                    (quantile(0.5, "quantis_http_request_seconds"), "p50"),
                    (quantile(0.95, "quantis_http_request_seconds"), "p95"),
                    (quantile(0.99, "quantis_http_request_seconds"), "p99"),
                ),
                unit="s",
            ),
            GrafanaPanel(
                "Errors by route and status",
                ((rate(REQUESTS, "route", "status", where='{status=~"[45].."}'), "{{status}} {{route}}"),),
                unit="reqps",
            ),
        ),
    ),
    GrafanaRow(
        "Forecasts",
        (
            GrafanaPanel(
                "Entries by method and reason",
                ((rate(ENTRIES, "method", "reason"), "{{method}} {{reason}}"),),
                unit="short",
                stacked=True,
            ),
            GrafanaPanel(
                "Forecaster latency by model",
                (
                    (quantile(0.5, "quantis_forecast_seconds", "model"), "p50 {{model}}"),
                    (quantile(0.95, "quantis_forecast_seconds", "model"), "p95 {{model}}"),
                ),
                unit="s",
            ),
            GrafanaPanel(
                "Series per request",
                (
                    (quantile(0.5, "quantis_forecast_series"), "p50"),
                    (quantile(0.95, "quantis_forecast_series"), "p95"),
                ),
            ),
            GrafanaPanel("Vintages written", ((rate("quantis_vintages_written_total"), "vintages"),)),
            GrafanaPanel(
                "Misses of intervals over those allowed",
                ((MISSES_OVER_ALLOWED, "{{model}}"),),
                about="1 where intervals hold the share of actuals that they promise; above, they are too narrow.",
            ),
            GrafanaPanel(
                "Model loads",
                (
                    (
                        "sum by (model, outcome) (increase(quantis_model_loads_total[$__range]))",
                        "{{model}} {{outcome}}",
                    ),
                ),
            ),
        ),
    ),
    GrafanaRow(
        "Jobs",
        (
            GrafanaPanel(
                "Jobs by state",
                (("max by (state, kind) (quantis_jobs) > 0", "{{kind}} {{state}}"),),
                stacked=True,
            ),
            GrafanaPanel(
                "Seconds per job", ((quantile(0.5, "quantis_job_seconds", "kind"), "p50 {{kind}}"),), unit="s"
            ),
            GrafanaPanel(
                "Outbox and reconciler",
                (
                    ("max(quantis_outbox_pending)", "pending"),
                    (rate("quantis_reconciler_ticks_total", "outcome"), "rounds/s {{outcome}}"),
                ),
            ),
        ),
    ),
    GrafanaRow(
        "Data and people",
        (
            GrafanaPanel("Uploads by outcome", ((rate("quantis_uploads_total", "outcome"), "{{outcome}}"),)),
            GrafanaPanel("Rows ingested", ((rate("quantis_rows_ingested_total"), "rows/s"),)),
            GrafanaPanel(
                "Sign-ins by outcome", ((rate("quantis_sign_ins_total", "outcome"), "{{outcome}}"),)
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    return {
        "uid": "quantis",
        "title": "Quantis",
        "tags": ["quantis", "forecasting"],
        "timezone": "browser",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "editable": True,
        "graphTooltip": 1,
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
        "panels": _panels(),
    }


def _panels() -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = []
    y = 0
    for row in ROWS:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
            }
        )
        y += 1
        x, height = 0, 4 if row.panels[0].kind == "stat" else 8
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y = 0, y + height
            panels.append(_panel(panel, len(panels) + 1, {"x": x, "y": y, "w": panel.width, "h": height}))
            x += panel.width
        y += height
    return panels


def _panel(panel: GrafanaPanel, number: int, position: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.alarm is not None:
        steps.append({"color": "red", "value": panel.alarm})
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.stacked else "none", "group": "A"}
        defaults["custom"] = {
            "fillOpacity": 20 if panel.stacked else 0,
            "showPoints": "never",
            "stacking": stacking,
        }
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": position,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel),
        "targets": [
            {"refId": chr(ord("A") + n), "expr": expr, "legendFormat": legend, "datasource": SOURCE}
            for n, (expr, legend) in enumerate(panel.queries)
        ],
    }


def _options(panel: GrafanaPanel) -> dict[str, Any]:
    if panel.kind == "stat":
        mode = "name" if panel.title == "Version" else "value"
        return {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "textMode": mode}
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def text() -> str:
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text())
