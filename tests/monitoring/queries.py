"""PromQL of the dashboard and of the alert rules, and the metrics of it that a scrape lacks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from monitoring.instruments import PREFIX

MONITORING = Path(__file__).parents[2] / "monitoring"
DASHBOARD = MONITORING / "grafana" / "quantis.json"
RULES = MONITORING / "prometheus" / "rules.yml"

PROMETHEUS_OWN = ("up",)
"""Series that Prometheus writes of each target, and no scrape shows."""

_METRIC = re.compile(rf"\b{PREFIX}[a-z0-9_]+\b")
_SAMPLE = re.compile(rf"^({PREFIX}[a-z0-9_]+)(?:\{{| )", re.MULTILINE)


def queries() -> dict[str, str]:
    """Return each PromQL expression by its panel or rule, Grafana's interval filled in."""
    expressions = dict(_dashboard_queries(json.loads(DASHBOARD.read_text())))
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            expressions[f"rule {rule.get('alert') or rule['record']}"] = rule["expr"]
    return expressions


def unanswered(scrape: str) -> dict[str, list[str]]:
    """Queries that name a metric which `scrape` (the text of /metrics) does not show, with these names."""
    shown = set(_SAMPLE.findall(scrape))
    missing = {where: sorted(metrics(query) - shown) for where, query in queries().items()}
    return {where: names for where, names in missing.items() if names}


def metrics(query: str) -> set[str]:
    return set(_METRIC.findall(query))


def _dashboard_queries(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "5m").replace("$__range", "1h")
            yield f"panel {panel['title']} {target['refId']}", expression
