"""Runs every phase of schemathesis against a live server, and counts what came of it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import schemathesis
import uvicorn
from fastapi import FastAPI
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished

# What exists in the world under test, so that a good part of the requests meets something.
DEBUG = True
KNOWN = {
    "datasets": ["flights"],
    "models": ["demand"],
    "refs": ["demand", "demand@champion", "demand:1"],
    "series": ["JFK/B6", "EWR/UA", "GAP/G4", "TINY/T1"],
    "versions": [1],
    "moments": ["2024-01-20T00:00:00Z", "2024-01-02T12:00:00+01:00"],
}


@dataclass
class Report:
    """Requests by class of status: all of them, and those whose data fits the document."""

    every: Counter[str] = field(default_factory=Counter)
    fitting: Counter[str] = field(default_factory=Counter)
    by_operation: dict[str, Counter[int]] = field(default_factory=dict)
    checks: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        return self.every.total()

    @property
    def answered_well(self) -> float:
        """The share of 2xx among the answers to fitting data."""
        return self.fitting["2xx"] / max(1, self.fitting.total())

    def __str__(self) -> str:
        return (
            f"{self.requests} requests: {dict(sorted(self.every.items()))}; "
            f"fitting: {dict(sorted(self.fitting.items()))}; checks: {self.checks.total()}; "
            f"failures: {len(self.failures)}"
        )


@contextlib.contextmanager
def served(app: FastAPI, **options: Any) -> Iterator[str]:
    """The address of a server of this application, on a port of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def configuration(
    examples: int, seed: int, headers: dict[str, str], known: dict[str, list[Any]]
) -> dict[str, Any]:
    named = {
        "path.unique_id": "series",
        "path.ref": "refs",
        "path.version": "versions",
        "query.version": "versions",
        "query.as_of": "moments",
    } | {f"path.{name}": name for name in known if name not in KNOWN}
    return {
        "seed": seed,
        "headers": headers,
        "continue-on-failure": True,
        "request-timeout": 5,
        "max-stream-events": 3,
        "generation": {"max-examples": examples, "database": "none", "no-shrink": True},
        "dictionaries": {name: {"values": values} for name, values in (KNOWN | known).items()},
        "parameters": {key: {"dictionary": name, "probability": 0.8} for key, name in named.items()},
        "operations": [
            {
                "include-path-regex": f"^/v1/{noun}/",
                "parameters": {"path.name": {"dictionary": noun, "probability": 0.8}},
            }
            for noun in ("datasets", "models")
        ],
    }  # fmt: skip


def run(url: str, *, examples: int, seed: int, token: str | None, known: dict[str, list[Any]]) -> Report:
    """All phases against the server: examples, coverage, fuzzing, stateful."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    config = SchemathesisConfig.from_dict(configuration(examples, seed, headers, known))
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)
    report = Report()
    for event in from_schema(schema).execute():
        if isinstance(event, ScenarioFinished):
            _count(report, event)
            if DEBUG:
                print(
                    event.phase,
                    event.recorder.label,
                    round(event.elapsed_time, 1),
                    len(event.recorder.interactions),
                    flush=True,
                )
        elif isinstance(event, NonFatalError):
            report.failures.setdefault(f"{event.label}: {event.info.title}", str(event.info.message)[:2000])
        elif isinstance(event, FatalError):
            raise event.exception
    return report


def _count(report: Report, event: ScenarioFinished) -> None:
    recorder = event.recorder
    for case_id, interaction in recorder.interactions.items():
        status = interaction.response.status_code if interaction.response else 0
        report.every[f"{status // 100}xx"] += 1
        node = recorder.cases.get(case_id)
        if node is None:
            continue
        label = node.value.operation.label
        report.by_operation.setdefault(label, Counter())[status] += 1
        if node.value.meta is not None and node.value.meta.generation.mode.is_positive:
            report.fitting[f"{status // 100}xx"] += 1
    for case_id, checks in recorder.checks.items():
        for check in checks:
            report.checks[check.name] += 1
            if check.failure_info is not None:
                _keep(report, recorder.cases[case_id].value, check)


def _keep(report: Report, case: Any, check: Any) -> None:
    failure = check.failure_info.failure
    key = f"{case.operation.label}: {check.name}: {failure.title}"
    if key not in report.failures:
        response = getattr(check.failure_info, "response", None)
        report.failures[key] = f"{failure.message}\n{case.as_curl_command()[:1500]}\n{response}"
