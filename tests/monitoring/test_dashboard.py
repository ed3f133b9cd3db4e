"""The dashboard and the alerts ask only for what a scrape shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml

from monitoring.grafana import build
from quantis.types.forecasts import ForecastMethod
from quantis.types.jobs import JobState
from quantis.types.operations.alerts import AlertState
from tests.monitoring import queries

ROOT = Path(__file__).parents[2]
USED = """
import sys
from pathlib import Path
from monitoring import instruments as i
from quantis.types.operations.alerts import Fact
i.configure(Path(sys.argv[1]))
i.observe_request("/v1/jobs/{id}", "GET", 200, 0.02)
i.count_entry("demand", "model", None)
i.observe_forecast("demand", 20, 0.4)
i.count_vintages(2)
i.count_model_load("demand", "ok")
i.set_jobs({})
i.observe_job("train", "SUCCEEDED", 80.0)
i.set_outbox(0)
i.set_lease(True)
i.count_tick("ok")
i.count_upload("created")
i.count_rows(1000)
i.count_sign_in("success")
i.count_interval_points("demand", 100, 25, 20.0)
i.set_fact("default", Fact(name="drift", value=0.3, at="2026-03-02T00:00Z", model="demand"))
i.set_alerts({})
i.count_notification("webhook", "delivered")
i.set_pending_notifications(0)
print(i.render()[0].decode())
"""
NODES = (
    promql.VectorSelector, promql.MatrixSelector, promql.AggregateExpr, promql.BinaryExpr, promql.Call,
    promql.ParenExpr, promql.SubqueryExpr, promql.UnaryExpr, promql.NumberLiteral, promql.StringLiteral,
)  # fmt: skip


@pytest.fixture(scope="module")
def scrape(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("metrics")
    return subprocess.run(
        [sys.executable, "-c", USED, str(folder)], check=True, capture_output=True, text=True, cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PROMETHEUS_MULTIPROC_DIR": str(folder)},
    ).stdout  # fmt: skip


def selectors(node: Any) -> Iterator[Any]:
    assert isinstance(node, NODES), f"unknown node {type(node)}"
    if isinstance(node, promql.VectorSelector):
        yield node
    for field in ("lhs", "rhs", "expr", "param", "vector_selector"):
        if (child := getattr(node, field, None)) is not None:
            yield from selectors(child)
    for child in getattr(node, "args", []):
        yield from selectors(child)


def labels_of(scrape: str, metric: str) -> set[str]:
    lines = re.findall(rf"^{metric}\{{(.*)\}} ", scrape, re.M)
    return {name for line in lines for name in re.findall(r'(\w+)="', line)}


def test_when_every_instrument_was_used_then_the_scrape_answers_every_query(scrape: str) -> None:
    assert queries.unanswered(scrape) == {}


def test_when_queries_are_parsed_then_the_parser_finds_the_same_metrics() -> None:
    found = queries.queries()
    assert len(found) > 25
    for where, query in found.items():
        parsed = {selector.name for selector in selectors(promql.parse(query))} - {*queries.PROMETHEUS_OWN}
        assert parsed == queries.metrics(query), where
        assert parsed, where


def test_when_a_query_filters_or_groups_by_a_label_then_the_metric_has_it(scrape: str) -> None:
    for where, query in queries.queries().items():
        names = {
            matcher.name
            for selector in selectors(promql.parse(query))
            if selector.name not in queries.PROMETHEUS_OWN
            for matcher in selector.matchers.matchers
        }
        names |= {name for group in re.findall(r"by \(([^)]*)\)", query) for name in re.split(r",\s*", group)}
        for metric in queries.metrics(query):
            assert names <= labels_of(scrape, metric), f"{where}: {metric}"


def test_when_a_query_names_a_state_or_rung_then_it_is_one_of_ours() -> None:
    text = " ".join(queries.queries().values())
    states = {state.value for state in (*JobState, *AlertState)}
    assert set(re.findall(r'state="(\w+)"', text)) <= states
    assert set(re.findall(r'method!?="(\w+)"', text)) <= {method.value for method in ForecastMethod}


def test_when_every_family_is_declared_then_the_dashboard_or_a_rule_asks_for_it(scrape: str) -> None:
    asked = {
        re.sub(r"_(bucket|sum|count)$", "", metric)
        for query in queries.queries().values()
        for metric in queries.metrics(query)
    }
    assert set(re.findall(r"^# TYPE (\S+)", scrape, re.M)) == asked


def test_when_a_metric_disappears_then_its_queries_are_named(scrape: str) -> None:
    without = re.sub(r"^quantis_outbox_pending .*$", "", scrape, flags=re.M)
    missing = queries.unanswered(without)
    assert missing["panel Outbox A"] == ["quantis_outbox_pending"]
    assert missing["rule QuantisOutboxStands"] == ["quantis_outbox_pending"]
    assert len(queries.unanswered("")) == len(queries.queries())


def test_when_the_dashboard_is_built_again_then_the_kept_file_is_the_same() -> None:
    assert build.TARGET.read_text() == build.text(), "run `python -m monitoring.grafana.build`"


def test_when_panels_are_placed_then_none_overlaps_and_all_fit() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(build.text())["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= build.COLUMNS
        taken |= cells


def test_when_an_alert_fires_then_it_says_what_to_do() -> None:
    groups = yaml.safe_load(queries.RULES.read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["action"]


def test_when_promtool_is_here_then_it_accepts_the_configuration() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    done = subprocess.run(
        [promtool, "check", "config", str(queries.RULES.with_name("prometheus.yml"))],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["first_failures.yml", "nodes_and_leases.yml", "intervals.yml"])
def test_when_failures_come_at_once_nodes_or_leases_are_gone_or_intervals_miss_then_the_rules_alert(
    tmp_path: Path, name: str
) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    scenarios = Path(__file__).with_name(name).read_text()
    (tmp_path / "scenarios.yml").write_text(scenarios.replace("RULES", str(queries.RULES)))
    done = subprocess.run(
        [promtool, "test", "rules", str(tmp_path / "scenarios.yml")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_when_no_answer_came_from_the_model_then_the_panel_shows_zero_and_not_nothing() -> None:
    expression = queries.queries()["panel Answers from the model A"]
    assert expression.startswith(
        '(sum(rate(quantis_forecast_entries_total{method="model"}[5m])) or vector(0)) /'
    )


def test_when_an_alert_asks_for_an_increase_then_a_new_series_counts_or_is_born_at_zero() -> None:
    born_at_zero = {
        "quantis_sign_ins_total",
        "quantis_uploads_total",
        "quantis_reconciler_ticks_total",
        "quantis_notifications_total",
    }
    for where, query in queries.queries().items():
        if where.startswith("rule ") and "increase(" in query:
            (metric,) = queries.metrics(query)
            assert metric in born_at_zero or f"unless last_over_time({metric}" in query, where
