"""Routes of the in-memory platform: accounts, jobs, models; data and forecasts are beside it."""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn
from urllib.parse import parse_qs

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from quantis.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    QuantisError,
    RejectedPanel,
    Unauthenticated,
)
from quantis.testing.data import Shelf
from quantis.testing.forecasts import answered
from quantis.types.accounts import NewUser, Role, SetupRequest, SetupState, TokenResponse, User, UserChange
from quantis.types.datasets import DatasetSpec
from quantis.types.forecasts import ForecastRequest, ForecastResponse
from quantis.types.jobs import Job, JobEvent, JobRequest, JobState, LogText
from quantis.types.registry import AliasRequest, Leaderboard, Model, ModelVersion

_ORDER = list(Role)
_NEEDED = {
    "train": Role.ml_engineer,
    "tune": Role.ml_engineer,
    "featurize": Role.ml_engineer,
    "forecast": Role.analyst,
}
PAGE = 50


class FakeApi:
    """One team's platform in memory. `setup_secret` opens the setup of the first admin."""

    def __init__(self, *, setup_secret: str = "", token_seconds: int = 600) -> None:
        self.setup_secret = setup_secret or secrets.token_hex(16)
        self.token_seconds = token_seconds
        self.shelf = Shelf()
        self.models: list[ModelVersion] = []
        self.leaderboards: dict[str, Leaderboard] = {}
        self.forecasts: dict[str, ForecastResponse] = {}
        self.requests: list[httpx.Request] = []
        self._users: dict[str, tuple[str, User]] = {}
        self._access: dict[str, str] = {}
        self._refresh: dict[str, str] = {}
        self._jobs: dict[str, Job] = {}
        self._events: dict[str, list[JobEvent]] = {}
        self._logs: dict[str, str] = {}
        self._keys: dict[str, tuple[str, str]] = {}
        self._lock = threading.RLock()

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.handle)

    def handle(self, request: httpx.Request) -> httpx.Response:
        """The answer to one request; every error is a problem (RFC 9457)."""
        request.read()
        with self._lock:
            self.requests.append(request)
            try:
                return self._routed(request)
            except ValidationError as error:
                detail = "; ".join(f"{item['loc']}: {item['msg']}" for item in error.errors())
                return _problem(InvalidInput(detail))
            except QuantisError as error:
                return _problem(error)

    # What a test sets up

    def add_user(self, user_name: str, password: str, role: Role = Role.viewer) -> User:
        user = User(
            id=secrets.token_hex(8),
            user_name=user_name,
            role=role,
            team="default",
            disabled=False,
            created_at=datetime.now(UTC),
        )
        self._users[user_name] = (password, user)
        return user

    def expire_tokens(self) -> None:
        """Make every access token void; refresh tokens stay."""
        self._access.clear()

    def tell(
        self,
        job_id: str,
        message: str,
        *,
        kind: str = "step",
        state: JobState | None = None,
        progress: float | None = None,
        result: dict[str, Any] | None = None,
    ) -> None:
        """Let something happen to a job; with a `state`, the event is of kind `state`."""
        now = datetime.now(UTC)
        with self._lock:
            job, events = self._job(job_id), self._events[job_id]
            change: dict[str, Any] = {
                "message": message,
                "progress": job.progress if progress is None else progress,
            }
            if state is not None:
                kind, change["state"] = "state", state
                change["started_at"] = job.started_at or now
                change["ended_at"] = now if state.final else None
            if result is not None:
                change["result"] = result
            self._jobs[job_id] = Job.model_validate({**job.model_dump(), **change})
            data = {"state": state.value} if state else {}
            events.append(
                JobEvent.model_validate(
                    {"seq": len(events) + 1, "at": now, "kind": kind, "message": message, "data": data}
                )
            )
            self._logs[job_id] += message + "\n"

    # Accounts

    def get_setup(self, request: httpx.Request) -> httpx.Response:
        return _ok(SetupState(open=not self._users))

    def post_setup(self, request: httpx.Request) -> httpx.Response:
        body = SetupRequest.model_validate_json(request.content)
        if self._users:
            raise Conflict("there is an admin already; ask them for an account")
        if body.secret.get_secret_value() != self.setup_secret:
            raise Forbidden("the setup secret is wrong; read it where `quantis up` wrote it")
        return _ok(self.add_user(body.user_name, body.password.get_secret_value(), Role.admin), 201)

    def post_token(self, request: httpx.Request) -> httpx.Response:
        form = {key: values[0] for key, values in parse_qs(request.content.decode()).items()}
        if form.get("grant_type") == "refresh_token":
            name = self._refresh.pop(form.get("refresh_token", ""), None)
        else:
            password, _ = self._users.get(form.get("username", ""), (None, None))
            name = form["username"] if password is not None and password == form.get("password") else None
        if name is None:
            raise Unauthenticated("user name or password is wrong, or the login has ended")
        access, refresh = secrets.token_hex(16), secrets.token_hex(16)
        self._access[access], self._refresh[refresh] = name, name
        return _ok(TokenResponse(access_token=access, expires_in=self.token_seconds, refresh_token=refresh))

    def post_revoke(self, request: httpx.Request) -> httpx.Response:
        name = self._refresh.pop(parse_qs(request.content.decode()).get("token", [""])[0], None)
        self._access = {token: user for token, user in self._access.items() if user != name}
        return httpx.Response(204)

    def get_me(self, request: httpx.Request) -> httpx.Response:
        return _ok(self._user(request))

    def get_users(self, request: httpx.Request) -> httpx.Response:
        return _page(request, [user for _, user in self._users.values()])

    def post_users(self, request: httpx.Request) -> httpx.Response:
        body = NewUser.model_validate_json(request.content)
        if body.user_name in self._users:
            raise Conflict(f"user {body.user_name!r} exists; choose another name")
        return _ok(self.add_user(body.user_name, body.password.get_secret_value(), body.role), 201)

    def patch_user(self, request: httpx.Request, user_id: str) -> httpx.Response:
        change = UserChange.model_validate_json(request.content)
        for name, (password, user) in self._users.items():
            if user.id == user_id:
                values = change.model_dump(exclude_unset=True, exclude={"password"})
                kept = change.password.get_secret_value() if change.password else password
                self._users[name] = (kept, user.model_copy(update=values))
                return _ok(self._users[name][1])
        raise NotFound(f"there is no user {user_id!r}")

    # Datasets

    def get_datasets(self, request: httpx.Request) -> httpx.Response:
        return _page(request, self.shelf.datasets())

    def post_datasets(self, request: httpx.Request) -> httpx.Response:
        spec = DatasetSpec.model_validate_json(request.content)
        return _ok(self.shelf.create(spec, self._user(request).user_name), 201)

    def get_dataset(self, request: httpx.Request, name: str) -> httpx.Response:
        return _ok(self.shelf.dataset(name))

    def post_check(self, request: httpx.Request, name: str) -> httpx.Response:
        return _ok(self.shelf.check(name, request))

    def post_versions(self, request: httpx.Request, name: str) -> httpx.Response:
        result = self.shelf.upload(name, request, self._user(request).user_name)
        return _ok(result, 201 if result.created else 200)

    def get_versions(self, request: httpx.Request, name: str) -> httpx.Response:
        return _page(request, self.shelf.versions(name))

    def get_series(self, request: httpx.Request, name: str) -> httpx.Response:
        return _page(request, self.shelf.series(name, request.url.params.get("search", "")))

    def get_one_series(self, request: httpx.Request, name: str, unique_id: str) -> httpx.Response:
        return _ok(self.shelf.read(name, unique_id, dict(request.url.params)))

    # Jobs

    def post_jobs(self, request: httpx.Request) -> httpx.Response:
        user = self._user(request)
        spec = JobRequest.model_validate_json(request.content).spec
        _allow(user, _NEEDED[spec.kind])
        self.shelf.dataset(spec.dataset)
        key, body = request.headers.get("Idempotency-Key"), request.content.decode()
        if key in self._keys:
            if self._keys[key][1] != body:
                raise Conflict(f"idempotency key {key!r} was used for another request; take a new one")
            return _ok(self._job(self._keys[key][0]), 202)
        job = Job(
            id=secrets.token_hex(8),
            kind=spec.kind,
            state=JobState.pending,
            spec=spec,
            created_at=datetime.now(UTC),
            created_by=user.user_name,
        )
        self._jobs[job.id], self._events[job.id], self._logs[job.id] = job, [], ""
        if key:
            self._keys[key] = (job.id, body)
        return _ok(job, 202, {"Location": f"/v1/jobs/{job.id}"})

    def get_jobs(self, request: httpx.Request) -> httpx.Response:
        wanted = {key: request.url.params.get(key) for key in ("state", "kind")}
        jobs = [job for job in reversed(self._jobs.values()) if wanted["state"] in (None, job.state.value)]
        return _page(request, [job for job in jobs if wanted["kind"] in (None, job.kind)])

    def get_job(self, request: httpx.Request, job_id: str) -> httpx.Response:
        return _ok(self._job(job_id))

    def get_events(self, request: httpx.Request, job_id: str) -> httpx.Response:
        """What has been told so far; the stream then ends, and a follower comes again."""
        self._job(job_id)
        last = int(request.headers.get("Last-Event-ID", "0"))
        news = [event for event in self._events[job_id] if event.seq > last]
        text = "".join(f"id: {e.seq}\nevent: {e.kind}\ndata: {e.model_dump_json()}\n\n" for e in news)
        return httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream; charset=utf-8"})

    def get_logs(self, request: httpx.Request, job_id: str) -> httpx.Response:
        self._job(job_id)
        return _ok(LogText(text=self._logs[job_id]))

    def post_stop(self, request: httpx.Request, job_id: str) -> httpx.Response:
        if not self._job(job_id).state.final:
            self.tell(job_id, "stopped", state=JobState.stopped)
        return _ok(self._job(job_id))

    # Models and forecasts

    def get_leaderboard(self, request: httpx.Request, job_id: str) -> httpx.Response:
        if job_id not in self.leaderboards:
            raise NotFound(f"job {job_id!r} has no leaderboard")
        return _ok(self.leaderboards[job_id])

    def get_models(self, request: httpx.Request) -> httpx.Response:
        names = sorted({version.model for version in self.models})
        return _page(request, [self._model(name) for name in names])

    def get_model_versions(self, request: httpx.Request, name: str) -> httpx.Response:
        return _page(request, self._versions(name))

    def get_model_version(self, request: httpx.Request, name: str, number: str) -> httpx.Response:
        return _ok(self._version(name, int(number)))

    def put_alias(self, request: httpx.Request, name: str, alias: str) -> httpx.Response:
        wanted = self._version(name, AliasRequest.model_validate_json(request.content).version)
        self.models = [_renamed(v, alias, v is wanted) if v.model == name else v for v in self.models]
        return _ok(self._version(name, wanted.version))

    def post_forecast(self, request: httpx.Request, ref: str) -> httpx.Response:
        body = ForecastRequest.model_validate_json(request.content)
        name, _, number = ref.partition(":")
        name, _, alias = name.partition("@")
        if number:
            version, shown = self._version(name, int(number)), None
        else:
            shown = alias or "champion"
            found = [v for v in self._versions(name) if shown in v.aliases]
            version = found[0] if found else self._missing(f"model {name!r} has no {shown}")
        response = answered(body, version, shown, self.shelf)
        self.forecasts[response.forecast_id] = response
        return _ok(response)

    def get_forecast(self, request: httpx.Request, forecast_id: str) -> httpx.Response:
        if forecast_id not in self.forecasts:
            raise NotFound(f"there is no forecast {forecast_id!r}")
        return _ok(self.forecasts[forecast_id])

    # Inside

    def _routed(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        for method, pattern, role, handler in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and request.method == method:
                if role is not None:
                    _allow(self._user(request), role)
                return handler(self, request, *found.groups())
        raise NotFound(f"there is nothing at {path}")

    def _user(self, request: httpx.Request) -> User:
        name = self._access.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if name is None:
            raise Unauthenticated("the access token is missing, unknown or has ended")
        return self._users[name][1]

    def _job(self, job_id: str) -> Job:
        return self._jobs.get(job_id) or self._missing(f"there is no job {job_id!r}")

    def _versions(self, name: str) -> list[ModelVersion]:
        return [v for v in self.models if v.model == name] or self._missing(f"there is no model {name!r}")

    def _version(self, name: str, number: int) -> ModelVersion:
        found = [v for v in self._versions(name) if v.version == number]
        return found[0] if found else self._missing(f"model {name!r} has no version {number}")

    def _model(self, name: str) -> Model:
        versions = self._versions(name)
        champion = next((v.version for v in versions if "champion" in v.aliases), None)
        return Model(
            name=name, champion=champion, latest=max(v.version for v in versions), versions=len(versions)
        )

    def _missing(self, message: str) -> NoReturn:
        raise NotFound(message)


Handler = Callable[..., httpx.Response]
_V, _A, _E, _ADMIN = Role.viewer, Role.analyst, Role.ml_engineer, Role.admin
_NAME = "([^/]+)"

ROUTES: list[tuple[str, str, Role | None, Handler]] = [
    ("GET", "/v1/setup", None, FakeApi.get_setup),
    ("POST", "/v1/setup", None, FakeApi.post_setup),
    ("POST", "/v1/oauth/token", None, FakeApi.post_token),
    ("POST", "/v1/oauth/revoke", None, FakeApi.post_revoke),
    ("GET", "/v1/users/me", _V, FakeApi.get_me),
    ("GET", "/v1/users", _ADMIN, FakeApi.get_users),
    ("POST", "/v1/users", _ADMIN, FakeApi.post_users),
    ("PATCH", f"/v1/users/{_NAME}", _ADMIN, FakeApi.patch_user),
    ("GET", "/v1/datasets", _V, FakeApi.get_datasets),
    ("POST", "/v1/datasets", _A, FakeApi.post_datasets),
    ("GET", f"/v1/datasets/{_NAME}", _V, FakeApi.get_dataset),
    ("POST", f"/v1/datasets/{_NAME}/check", _A, FakeApi.post_check),
    ("POST", f"/v1/datasets/{_NAME}/versions", _A, FakeApi.post_versions),
    ("GET", f"/v1/datasets/{_NAME}/versions", _V, FakeApi.get_versions),
    ("GET", f"/v1/datasets/{_NAME}/series", _V, FakeApi.get_series),
    ("GET", f"/v1/datasets/{_NAME}/series/(.+)", _V, FakeApi.get_one_series),
    ("POST", "/v1/jobs", _A, FakeApi.post_jobs),
    ("GET", "/v1/jobs", _V, FakeApi.get_jobs),
    ("GET", f"/v1/jobs/{_NAME}", _V, FakeApi.get_job),
    ("GET", f"/v1/jobs/{_NAME}/events", _V, FakeApi.get_events),
    ("GET", f"/v1/jobs/{_NAME}/logs", _V, FakeApi.get_logs),
    ("POST", f"/v1/jobs/{_NAME}/stop", _E, FakeApi.post_stop),
    ("GET", f"/v1/experiments/{_NAME}/leaderboard", _V, FakeApi.get_leaderboard),
    ("GET", "/v1/models", _V, FakeApi.get_models),
    ("GET", f"/v1/models/{_NAME}/versions", _V, FakeApi.get_model_versions),
    ("GET", f"/v1/models/{_NAME}/versions/([0-9]+)", _V, FakeApi.get_model_version),
    ("PUT", f"/v1/models/{_NAME}/aliases/{_NAME}", _E, FakeApi.put_alias),
    ("POST", f"/v1/models/{_NAME}/forecasts", _V, FakeApi.post_forecast),
    ("GET", f"/v1/forecasts/{_NAME}", _V, FakeApi.get_forecast),
]


def _allow(user: User, needed: Role) -> None:
    if _ORDER.index(user.role) < _ORDER.index(needed):
        raise Forbidden(f"role {user.role.value} may not do this; it takes {needed.value}")


def _renamed(version: ModelVersion, alias: str, given: bool) -> ModelVersion:
    aliases = [name for name in version.aliases if name != alias] + ([alias] if given else [])
    return version.model_copy(update={"aliases": aliases})


def _ok(value: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> httpx.Response:
    content_type = {"Content-Type": "application/json"}
    return httpx.Response(
        status, content=value.model_dump_json(), headers={**content_type, **(headers or {})}
    )


def _page(request: httpx.Request, items: list[Any]) -> httpx.Response:
    start = int(request.url.params.get("cursor", "0"))
    size = int(request.url.params.get("limit", PAGE))
    end = start + size
    body = {
        "items": TypeAdapter(list[Any]).dump_python(items[start:end], mode="json"),
        "next_cursor": str(end) if end < len(items) else None,
    }
    return httpx.Response(200, json=body)


def _problem(error: QuantisError) -> httpx.Response:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "request_id": secrets.token_hex(8),
        "errors": error.errors,
    }
    if isinstance(error, RejectedPanel):
        body["findings"] = [finding.model_dump(mode="json") for finding in error.findings]
    headers = {"Content-Type": "application/problem+json"}
    return httpx.Response(error.status, content=json.dumps(body), headers=headers)
