"""Questions to the folder, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.compat.invented import AFTER, BEFORE, END, GAP, OLD, SHOPS, YOUNG, H
from tests.compat.opening import Question

FAMILIES = (
    "seasonal_naive", "last_value", "theta", "statistical",
    "boosting", "boosting_recent", "boosting_plain", "ensemble", "tft",
)  # fmt: skip
EXACT, CLOSE, TORCH = 0.0, 1e-9, 1e-5


def asked_for(**more: Any) -> dict[str, Any]:
    """Series of every kind: from the model, from below it for each reason, and refused."""
    history: dict[str, Any] = {
        "start": "2024-05-01T00:00:00Z",
        "y": [float(20 + day % 7) for day in range(28)],
    }
    series: list[dict[str, Any]] = [{"unique_id": name} for name in (*SHOPS, GAP, YOUNG, OLD, "no/body")]
    series += [
        {
            "unique_id": "new/n",
            **history,
            "futr_exog": {"plan": [20.0] * H},
            "stat_exog": {"region": "north"},
        },
        {"unique_id": "new/one value", "start": "2024-05-01T00:00:00Z", "y": [5.0]},
        {"unique_id": "new/nothing yet", "y": [], "stat_exog": {"region": "south"}},
        {"unique_id": "north/b", **history, "y": [None] * 28},
    ]
    return {"series": series, "as_of": END, "quantiles": [0.1, 0.5, 0.8], **more}


def questions(
    jobs: Mapping[str, str], forecasts: Mapping[str, str], train: Mapping[str, Any], audited: str
) -> Iterator[Question]:
    """Everything that is asked of the folder; `tolerance` is relative, and for numbers that are computed anew."""
    for ref in (
        *(f"by-{family.replace('_', '-')}" for family in FAMILIES),
        "demand",
        "demand:1",
        "by-theta@steady",
    ):
        torch = ref in ("by-tft", "demand", "demand:1")
        yield _asking(f"forecast by {ref}", "bob", ref, asked_for(), TORCH if torch else CLOSE)
    body = asked_for(as_of=BEFORE, h=3)
    yield _asking("forecast of before the correction", "bob's key", "by-boosting", body, CLOSE)
    again = _asking("the same forecast again", "bob", "by-theta", asked_for(), EXACT)
    yield again | {"headers": {"Idempotency-Key": "forecast-once"}, "leave_out": []}
    for name, forecast_id in forecasts.items():
        after = {"after": "forecast by by-theta"} if name == "waiting" else {}
        yield _reading(f"issued forecast {name}", f"/v1/forecasts/{forecast_id}", "bob's key") | after
    yield _reading("jobs", "/v1/jobs?limit=500")
    for name, job_id in jobs.items():
        yield _reading(f"job {name}", f"/v1/jobs/{job_id}")
        yield _reading(f"events of job {name}", f"/v1/jobs/{job_id}/events")
    for name in ("train", "train again"):
        yield _reading(f"leaderboard of {name}", f"/v1/experiments/{jobs[name]}/leaderboard")
    yield {
        "name": "the same job again", "as": "cleo", "method": "POST", "path": "/v1/jobs",
        "body": {"spec": train}, "headers": {"Idempotency-Key": "train-once"},
    }  # fmt: skip
    for name in ("backtest", "backtest as known then"):
        yield _reading(name, f"/v1/backtests/{jobs[name]}")
        for dimension in ("series", "step", "window", "segment"):
            path = f"/v1/backtests/{jobs[name]}/{dimension}?limit=500"
            yield _reading(f"{name} by {dimension}", path)
    yield from _of_datasets()
    yield _reading("models", "/v1/models")
    for model in ("demand", "by-tft", "by-theta", "by-ensemble"):
        yield _reading(f"versions of {model}", f"/v1/models/{model}/versions")
        yield _reading(f"traffic of {model}", f"/v1/models/{model}/traffic")
        yield _reading(f"card of {model}", f"/v1/models/{model}/card")
    yield _reading("policy of demand", "/v1/models/demand/policy")
    yield _reading("approvals", "/v1/approvals?limit=500")
    yield _reading("users", "/v1/users", "ann")
    yield _reading("keys", "/v1/api-keys?of=team", "ann") | {"leave_out": ["used_at"]}
    yield _reading("clients", "/v1/clients", "ann")
    yield _reading("audit trail", f"/v1/audit-events?limit=500&cursor={audited}", "ann")
    verdict = _reading("audit verdict", "/v1/audit-events/verdict", "ann")
    yield verdict | {"leave_out": ["events", "head"]}
    for who in ("bob's key", "till", "dora"):
        yield _reading(f"who {who} is", "/v1/users/me", who)


def _of_datasets() -> Iterator[Question]:
    yield _reading("datasets", "/v1/datasets")
    for name in ("shops", "visits"):
        yield _reading(f"versions of {name}", f"/v1/datasets/{name}/versions")
        for number in (1, 2):
            yield _reading(
                f"series of {name}, version {number}", f"/v1/datasets/{name}/series?version={number}"
            )
    yield _reading("report of a version", "/v1/datasets/shops/versions/1/report")
    yield _reading("revisions", f"/v1/datasets/shops/revisions?series={SHOPS[0]}")
    for moment in (BEFORE, AFTER):
        path = f"/v1/datasets/shops/series/{SHOPS[0]}?as_of={moment}&start=2024-05-01T00:00:00Z"
        yield _reading(f"observations as of {moment}", path)
        yield _reading(f"series as of {moment}", f"/v1/datasets/shops/series?as_of={moment}")
    path = f"/v1/datasets/shops/series/{SHOPS[0]}?as_of={AFTER}&start=2024-05-01T00:00:00Z&version=1"
    yield _reading("observations of the first version", path)


def _reading(name: str, path: str, who: str = "bob") -> Question:
    return {"name": name, "as": who, "method": "GET", "path": path}


def _asking(name: str, who: str, ref: str, body: dict[str, Any], tolerance: float) -> Question:
    return {
        "name": name, "as": who, "method": "POST", "path": f"/v1/models/{ref}/forecasts", "body": body,
        "leave_out": ["forecast_id", "issued_at"], "tolerance": tolerance,
    }  # fmt: skip
