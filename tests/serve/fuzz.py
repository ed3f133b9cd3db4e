"""Runs every phase of schemathesis against a live server, and counts what came of it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import schemathesis
import uvicorn
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished
from schemathesis.engine.run import PhaseName
from starlette.types import ASGIApp

from quantis.types.accounts import REAUTHENTICATION_HEADER

SERIES = "unique_id,ds,y\nlamps,2024-02-{day:02},{y}\nchairs,2024-02-{day:02},7\n"
CSV = st.builds(SERIES.format, day=st.integers(1, 28), y=st.integers(0, 99)).map(str.encode)
"""Files that a dataset of days takes."""

_MOMENTS = "years from 1700 to 2261"
_PASSWORDS = "a password that not many have"
_CURSORS = "a cursor is one that this platform gave"
BEYOND_THE_SCHEMA = {
    "/v1/datasets": "a column has one role and a name that is not reserved; a zone must be known",
    "/v1/datasets/{name}/check": "the content of a file",
    "/v1/datasets/{name}/versions": "the content of a file",
    "/v1/datasets/{name}/imports": "addresses that the operator allows",
    "/v1/datasets/{name}/observations": "lists of equal length, columns of the dataset, times on the grid",
    "/v1/datasets/{name}/revisions": _MOMENTS,
    "/v1/datasets/{name}/windows": _MOMENTS,
    "/v1/datasets/{name}/series": _MOMENTS,
    "/v1/datasets/{name}/series/{unique_id}": _MOMENTS,
    "/v1/jobs": "a job on every version takes no version; columns must be those of the dataset; " + _CURSORS,
    "/v1/jobs/{job_id}/clone": "changes are fields of the specification",
    "/v1/pipelines": _CURSORS,
    "/v1/pipelines/{pipeline}": "steps in order, conditions, and what /v1/jobs asks of a job",
    "/v1/pipelines/{pipeline}/versions": _CURSORS,
    "/v1/pipelines/{pipeline}/runs": _CURSORS,
    "/v1/schedules": "a cron expression; what /v1/jobs asks of a job; " + _CURSORS,
    "/v1/schedules/{schedule_id}": "a cron expression; what /v1/jobs asks of a job",
    "/v1/schedules/{schedule_id}/runs": _CURSORS,
    "/v1/experiments-online": "a challenger of a model with a champion, a ramp that grows; " + _CURSORS,
    "/v1/experiments-online/{experiment_id}": _CURSORS,
    "/v1/models/{name}/traffic": "a version has one share, and all are at most a hundred",
    "/v1/models/{name}/live": f"{_CURSORS}; {_MOMENTS}",
    "/v1/models/{name}/at": _MOMENTS,
    "/v1/models/{ref}/forecasts": "level or quantiles, lists of equal length, times on the grid",
    "/v1/api-keys": "how long a key may live",
    "/v1/forecasts": f"{_CURSORS}; {_MOMENTS}",
    "/v1/approvals": _CURSORS,
    "/v1/alert-rules": "a name that is free, a band that holds a value, a known zone, channels and defaults there are",
    "/v1/alert-rules/{rule_id}": "the same; a rule on missing forecasts is for one model",
    "/v1/alerts": _CURSORS,
    "/v1/alert-channels": "hosts that the operator allows, a free name",
    "/v1/alert-channels/{channel_id}": "fields of the channel's kind, hosts that the operator allows",
    "/v1/alert-deliveries": _CURSORS,
    "/v1/backtests/{job_id}/{dimension}": _CURSORS,
    "/v1/audit-events": f"{_CURSORS}; {_MOMENTS}",
    "/v1/oauth/token": "each grant has fields of its own",
    "/v1/oauth/oidc/callback": "a sign-in that was begun here",
    "/v1/users": _PASSWORDS,
    "/v1/users/{user_id}": _PASSWORDS,
    "/v1/teams": _PASSWORDS,
    "/v1/users/me/reauthentication": "the password",
    "/v1/users/me/password": f"the old password; {_PASSWORDS}",
    "/v1/users/me/second-factor": "a code of this half-minute",
}
"""Rules that a JSON schema cannot say; 422 may answer what fits the schema here, and nowhere else."""

OF_JOBS = ("/v1/schedules", "/v1/schedules/{schedule_id}", "/v1/pipelines/{pipeline}")
"""Addresses whose bodies hold the specification of a job, as that of /v1/jobs does."""

LISTS_OF_TEXTS = ("/v1/forecasts", "/v1/jobs/{job_id}/forecasts")
"""Addresses with a list of texts in the query: any word is one, also where the fuzzer takes it for another type."""


@dataclass
class Report:
    """Requests by class of status: all of them, and those whose data was drawn to fit the document."""

    every: Counter[str] = field(default_factory=Counter)
    fitting: Counter[str] = field(default_factory=Counter)
    by_operation: dict[str, Counter[int]] = field(default_factory=dict)
    checks: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        return self.every.total()

    @property
    def served(self) -> float:
        """The share of 2xx among all answers."""
        return self.every["2xx"] / max(1, self.requests)

    @property
    def answered_well(self) -> float:
        """The share of 2xx among the answers to data drawn to fit, what probes borders of a schema left out."""
        return self.fitting["2xx"] / max(1, self.fitting.total())

    def __str__(self) -> str:
        return (
            f"{self.requests} requests: {dict(sorted(self.every.items()))}; "
            f"fitting: {dict(sorted(self.fitting.items()))}; checks: {self.checks.total()}; "
            f"failures: {len(self.failures)}"
        )


@contextlib.contextmanager
def served(app: ASGIApp, **options: Any) -> Iterator[str]:
    """The address of a server of this application, on a port of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=60)


@dataclass(frozen=True)
class Known:
    """What the world has: values that a parameter mostly takes, and those that it always does.

    A fuzzer that may disable its own account, or end its own session, tests nothing afterwards.
    """

    mostly: dict[str, list[Any]]
    always: dict[str, str]
    reauthentication: str = ""


def configuration(examples: int, seed: int, token: str | None, known: Known, mode: str) -> dict[str, Any]:
    def binding(name: str, probability: float = 0.85) -> dict[str, Any]:
        return {"dictionary": name, "probability": probability}

    nouns = ("datasets", "models")
    named = {f"path.{name}": binding(name) for name in known.mostly if name not in nouns}
    new = ("body.name", "body.user_name", "body.admin_name")
    secret = ("body.password", "body.admin_password")
    return {
        "seed": seed,
        "headers": {"Authorization": f"Bearer {token}"} if token else {},
        "continue-on-failure": True,
        "request-timeout": 20,
        "max-stream-events": 3,
        "suppress-health-check": ["filter_too_much", "too_slow"],
        "generation": {"max-examples": examples, "database": "none", "no-shrink": True, "mode": mode},
        "dictionaries": {name: {"values": values} for name, values in known.mostly.items()}
        | {"new": {"values": [f"new-{number}" for number in range(50_000)]},
           "secret": {"values": ["green lamps of march", "seven quiet rivers"]}},
        "parameters": named | {f"path.{name}": value for name, value in known.always.items()} | {
            f"header.{REAUTHENTICATION_HEADER}": known.reauthentication or "none",
            **{name: binding("new", 0.9) for name in new},
            **{name: binding("secret", 0.9) for name in secret},
            "query.version": binding("version"), "body.version": binding("version"), "query.as_of": binding("as_of"),
            "body.spec.dataset": binding("datasets"), "body.series[*].unique_id": binding("unique_id"),
        },
        "operations": [
            {"include-path": path, "checks": {"negative_data_rejection": {"expected-statuses": [*FITS, "400"]}}}
            for path in LISTS_OF_TEXTS
        ] + [
            {"include-path-regex": f"^/v1/{noun}/", "exclude-method": "DELETE",
             "parameters": {"path.name": binding(noun)}} for noun in nouns
        ] + [  # what is deleted cannot be asked for afterwards
            {"include-method": "DELETE", "parameters": {
                "path.name": "gone", "path.job_id": "gone", "path.schedule_id": "gone", "path.pipeline": "gone",
                "path.number": 99}}
        ] + [
            {"include-path": path, "checks": {"positive_data_acceptance": {"expected-statuses": FITS}}}
            for path in BEYOND_THE_SCHEMA
        ],
    }  # fmt: skip


FITS = ["2xx", "3xx", "401", "403", "404", "409", "415", "422", "429", "503"]


def run(
    url: str,
    *,
    examples: int,
    seed: int,
    token: str | None,
    known: Known,
    mode: str = "all",
    without: Sequence[str] = (),
    uncovered: Sequence[str] = (),
) -> Report:
    """All phases against the server, examples, coverage, fuzzing and stateful, but those left out.

    `mode` is `positive` for data drawn to fit the document only, `all` for such that breaks it as well. At addresses of
    `uncovered` not every border of the schema is probed.
    """
    schemathesis.openapi.media_type("text/csv", CSV)
    phases = {"phases": {name: {"enabled": False} for name in without}}
    values = configuration(examples, seed, token, known, mode) | phases
    values["operations"] += [
        {"include-path": path, "phases": {"coverage": {"enabled": False}}} for path in uncovered
    ]
    config = SchemathesisConfig.from_dict(values)
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)
    report = Report()
    for event in from_schema(schema).execute():
        if isinstance(event, ScenarioFinished):
            _count(report, event)
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
        meta = node.value.meta
        if meta is not None and meta.generation.mode.is_positive and event.phase != PhaseName.COVERAGE:
            report.fitting[f"{status // 100}xx"] += 1
            report.by_operation.setdefault(node.value.operation.label, Counter())[status] += 1
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
