"""The in-memory platform and its routes."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import httpx
from pydantic import ValidationError

from quantis.client.problems import to_invalid_input
from quantis.client.references import parse_reference
from quantis.errors import NotFound, QuantisError
from quantis.testing.accounts import FakeAccounts, require_role
from quantis.testing.datasets import FakeDatasets
from quantis.testing.forecasts import make_forecast
from quantis.testing.jobs import FakeJobQueue
from quantis.testing.responses import json_response, page_response, problem_response, raise_not_found
from quantis.types.accounts import Role, User
from quantis.types.datasets import DatasetSpec
from quantis.types.forecasts import ForecastRequest, ForecastResponse
from quantis.types.jobs import JobError, JobState
from quantis.types.registry import (
    AliasRequest,
    Backtest,
    Dimension,
    Figures,
    Leaderboard,
    Model,
    ModelCard,
    ModelVersion,
)


class FakeApi:
    """A platform with one team, in memory. `setup_secret` opens the setup of the first admin."""

    def __init__(self, *, setup_secret: str = "", token_seconds: int = 600) -> None:
        self.accounts = FakeAccounts(setup_secret, token_seconds)
        self.datasets = FakeDatasets()
        self.jobs = FakeJobQueue(self.accounts, self.datasets)
        self.models: list[ModelVersion] = []
        self.leaderboards: dict[str, Leaderboard] = {}
        self.backtests: dict[str, tuple[Backtest, dict[Dimension, list[Figures]]]] = {}
        self.cards: dict[tuple[str, int], str] = {}
        self.forecasts: dict[str, ForecastResponse] = {}
        self.requests: list[httpx.Request] = []
        self._lock = threading.RLock()

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.handle)

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Respond to a request; every error is a problem (RFC 9457)."""
        request.read()
        with self._lock:
            self.requests.append(request)
            try:
                return self._route(request)
            except ValidationError as error:
                return problem_response(to_invalid_input(error))
            except QuantisError as error:
                return problem_response(error)

    # Set up by a test

    def add_user(self, user_name: str, password: str, role: Role = Role.viewer) -> User:
        return self.accounts.add_user(user_name, password, role)

    def expire_tokens(self) -> None:
        """Make every access token void; refresh tokens stay."""
        self.accounts.access.clear()

    def emit(
        self,
        job_id: str,
        message: str,
        *,
        state: JobState | None = None,
        progress: float | None = None,
        result: dict[str, Any] | None = None,
        error: JobError | None = None,
    ) -> None:
        """Emit an event of a job: a step, or with `state` a change of it."""
        with self._lock:
            self.jobs.emit(job_id, message, state=state, progress=progress, result=result, error=error)

    # Datasets

    def get_datasets(self, request: httpx.Request) -> httpx.Response:
        return page_response(request, self.datasets.datasets())

    def post_datasets(self, request: httpx.Request) -> httpx.Response:
        spec = DatasetSpec.model_validate_json(request.content)
        return json_response(self.datasets.create(spec, self.accounts.user(request).user_name), 201)

    def get_dataset(self, request: httpx.Request, name: str) -> httpx.Response:
        return json_response(self.datasets.dataset(name))

    def post_check(self, request: httpx.Request, name: str) -> httpx.Response:
        return json_response(self.datasets.check(name, request))

    def post_versions(self, request: httpx.Request, name: str) -> httpx.Response:
        result = self.datasets.upload(name, request, self.accounts.user(request).user_name)
        return json_response(result, 201 if result.created else 200)

    def get_versions(self, request: httpx.Request, name: str) -> httpx.Response:
        return page_response(request, self.datasets.versions(name))

    def get_windows(self, request: httpx.Request, name: str) -> httpx.Response:
        return json_response(self.datasets.windows(name, dict(request.url.params)))

    def get_series(self, request: httpx.Request, name: str) -> httpx.Response:
        return page_response(request, self.datasets.series(name, request.url.params.get("search", "")))

    def get_one_series(self, request: httpx.Request, name: str, unique_id: str) -> httpx.Response:
        return json_response(self.datasets.read(name, unique_id, dict(request.url.params)))

    # Models and forecasts

    def get_leaderboard(self, request: httpx.Request, job_id: str) -> httpx.Response:
        if job_id not in self.leaderboards:
            raise NotFound(f"job {job_id!r} has no leaderboard")
        return json_response(self.leaderboards[job_id])

    def get_backtest(self, request: httpx.Request, job_id: str) -> httpx.Response:
        if job_id not in self.backtests:
            raise NotFound(f"job {job_id!r} has no backtest")
        return json_response(self.backtests[job_id][0])

    def get_figures(self, request: httpx.Request, job_id: str, dimension: Dimension) -> httpx.Response:
        if job_id not in self.backtests or dimension not in self.backtests[job_id][1]:
            raise NotFound(f"job {job_id!r} has no figures by {dimension}")
        model = request.url.params.get("model")
        rows = self.backtests[job_id][1][dimension]
        return page_response(request, [row for row in rows if model in (None, row.model)])

    def get_card(self, request: httpx.Request, ref: str) -> httpx.Response:
        version, _ = self._resolve_reference(ref)
        text = self.cards.get((version.model, version.version), f"# {version.model}\n")
        return json_response(ModelCard(model=version.model, version=version.version, markdown=text))

    def get_models(self, request: httpx.Request) -> httpx.Response:
        names = sorted({version.model for version in self.models})
        return page_response(request, [self._model(name) for name in names])

    def get_model_versions(self, request: httpx.Request, name: str) -> httpx.Response:
        return page_response(request, self._versions(name))

    def get_model_version(self, request: httpx.Request, name: str, number: str) -> httpx.Response:
        return json_response(self._version(name, int(number)))

    def put_alias(self, request: httpx.Request, name: str, alias: str) -> httpx.Response:
        target = self._version(name, AliasRequest.model_validate_json(request.content).version)
        self.models = [_set_alias(v, alias, v is target) if v.model == name else v for v in self.models]
        return json_response(self._version(name, target.version))

    def post_forecast(self, request: httpx.Request, ref: str) -> httpx.Response:
        body = ForecastRequest.model_validate_json(request.content)
        version, alias = self._resolve_reference(ref)
        response = make_forecast(body, version, alias, self.datasets)
        self.forecasts[response.forecast_id] = response
        return json_response(response)

    def get_forecast(self, request: httpx.Request, forecast_id: str) -> httpx.Response:
        if forecast_id not in self.forecasts:
            raise NotFound(f"there is no forecast {forecast_id!r}")
        return json_response(self.forecasts[forecast_id])

    # Routing

    def _route(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        for method, pattern, role, handler in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and request.method == method:
                if role is not None:
                    require_role(self.accounts.user(request), role)
                return handler(self)(request, *match.groups())
        raise NotFound(f"there is nothing at {path}")

    def _resolve_reference(self, ref: str) -> tuple[ModelVersion, str | None]:
        """Return the version that a reference selects, and the alias that was used."""
        name, number, alias = parse_reference(ref)
        if number is not None:
            return self._version(name, number), None
        versions = [version for version in self._versions(name) if alias in version.aliases]
        return (versions[0] if versions else raise_not_found(f"model {name!r} has no {alias}")), alias

    def _versions(self, name: str) -> list[ModelVersion]:
        return [v for v in self.models if v.model == name] or raise_not_found(f"there is no model {name!r}")

    def _version(self, name: str, number: int) -> ModelVersion:
        matches = [v for v in self._versions(name) if v.version == number]
        return matches[0] if matches else raise_not_found(f"model {name!r} has no version {number}")

    def _model(self, name: str) -> Model:
        versions = self._versions(name)
        champion = next((v.version for v in versions if "champion" in v.aliases), None)
        return Model(
            name=name, champion=champion, latest=max(v.version for v in versions), versions=len(versions)
        )


Handler = Callable[[FakeApi], Callable[..., httpx.Response]]
_V, _A, _E, _ADMIN = Role.viewer, Role.analyst, Role.ml_engineer, Role.admin
_NAME = "([^/]+)"

ROUTES: list[tuple[str, str, Role | None, Handler]] = [
    ("GET", "/v1/setup", None, lambda api: api.accounts.get_setup),
    ("POST", "/v1/setup", None, lambda api: api.accounts.post_setup),
    ("POST", "/v1/oauth/token", None, lambda api: api.accounts.post_token),
    ("POST", "/v1/oauth/revoke", None, lambda api: api.accounts.post_revoke),
    ("GET", "/v1/users/me", _V, lambda api: api.accounts.get_me),
    ("POST", "/v1/users/me/reauthentication", _V, lambda api: api.accounts.post_reauthentication),
    ("GET", "/v1/users", _ADMIN, lambda api: api.accounts.get_users),
    ("POST", "/v1/users", _ADMIN, lambda api: api.accounts.post_users),
    ("PATCH", f"/v1/users/{_NAME}", _ADMIN, lambda api: api.accounts.patch_user),
    ("GET", "/v1/datasets", _V, lambda api: api.get_datasets),
    ("POST", "/v1/datasets", _A, lambda api: api.post_datasets),
    ("GET", f"/v1/datasets/{_NAME}", _V, lambda api: api.get_dataset),
    ("POST", f"/v1/datasets/{_NAME}/check", _A, lambda api: api.post_check),
    ("POST", f"/v1/datasets/{_NAME}/versions", _A, lambda api: api.post_versions),
    ("GET", f"/v1/datasets/{_NAME}/versions", _V, lambda api: api.get_versions),
    ("GET", f"/v1/datasets/{_NAME}/windows", _V, lambda api: api.get_windows),
    ("GET", f"/v1/datasets/{_NAME}/series", _V, lambda api: api.get_series),
    ("GET", f"/v1/datasets/{_NAME}/series/(.+)", _V, lambda api: api.get_one_series),
    ("POST", "/v1/jobs", _A, lambda api: api.jobs.post_jobs),
    ("GET", "/v1/jobs", _V, lambda api: api.jobs.get_jobs),
    ("GET", f"/v1/jobs/{_NAME}", _V, lambda api: api.jobs.get_job),
    ("GET", f"/v1/jobs/{_NAME}/events", _V, lambda api: api.jobs.get_events),
    ("GET", f"/v1/jobs/{_NAME}/logs", _V, lambda api: api.jobs.get_logs),
    ("POST", f"/v1/jobs/{_NAME}/stop", _E, lambda api: api.jobs.post_stop),
    ("GET", f"/v1/experiments/{_NAME}/leaderboard", _V, lambda api: api.get_leaderboard),
    ("GET", f"/v1/backtests/{_NAME}", _V, lambda api: api.get_backtest),
    ("GET", f"/v1/backtests/{_NAME}/(series|step|window|segment)", _V, lambda api: api.get_figures),
    ("GET", f"/v1/models/{_NAME}/card", _V, lambda api: api.get_card),
    ("GET", "/v1/models", _V, lambda api: api.get_models),
    ("GET", f"/v1/models/{_NAME}/versions", _V, lambda api: api.get_model_versions),
    ("GET", f"/v1/models/{_NAME}/versions/([0-9]+)", _V, lambda api: api.get_model_version),
    ("PUT", f"/v1/models/{_NAME}/aliases/{_NAME}", _E, lambda api: api.put_alias),
    ("POST", f"/v1/models/{_NAME}/forecasts", _V, lambda api: api.post_forecast),
    ("GET", f"/v1/forecasts/{_NAME}", _V, lambda api: api.get_forecast),
]


def _set_alias(version: ModelVersion, alias: str, assigned: bool) -> ModelVersion:
    aliases = [name for name in version.aliases if name != alias] + ([alias] if assigned else [])
    return version.model_copy(update={"aliases": aliases})
