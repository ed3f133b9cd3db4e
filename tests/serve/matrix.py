"""Objects of two teams for the matrix of rights: made anew for each call, so that no call spoils another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pyarrow as pa
import pyotp
from pydantic import SecretStr
from sqlalchemy import update

from cluster.database.tables import UserRow
from cluster.repositories.backtests import FORECASTS, Backtests
from cluster.repositories.operations.schedules import PlannedTimes
from cluster.repositories.principals import Author
from cluster.repositories.sessions import SessionLifetime
from quantis.types.accounts import Role, User
from quantis.types.approvals import AliasChange
from quantis.types.forecasts import ForecastRequest, ForecastResponse, ModelRef
from quantis.types.job_specs import BacktestSpec, TrainSpec
from quantis.types.jobs import JobState
from quantis.types.keys import NewApiKey, NewServiceAccount, Scope
from quantis.types.operations.alert_channels import NewWebhook
from quantis.types.operations.alerts import Above, Fact, FactName, NewAlertRule
from quantis.types.operations.online_experiments import NewOnlineExperiment, OnlineExperimentState
from quantis.types.operations.pipelines import PipelineDefinition, PipelineStep
from quantis.types.operations.schedules import JobTarget, NewSchedule
from quantis.types.registry import Backtest
from serve.security import tokens
from serve.security.authentication import CLIENT
from serve.services import Services
from tests.serve import api_under_test as worlds
from tests.serve.api_under_test import PASSWORD, START

OTHER = {"default": "rivals", "rivals": "default"}
DATASETS = {"default": ("flights", "colleague"), "rivals": ("theirs", "theirs-too")}
MODELS = {"default": "demand", "rivals": "secrets"}
SERIES = "JFK/B6"
COLLEAGUE = {"default": "colleague", "rivals": "rival-colleague"}
LIFETIME = SessionLifetime(idle=1)
MISSING = "00000000-0000-0000-0000-000000000000"
_NUMBERS = count(1)


@dataclass(frozen=True)
class Caller:
    """Somebody with a credential; `role` None stands for whoever is let in nowhere."""

    name: str
    team: str
    header: str | None
    role: Role | None
    scopes: frozenset[Scope] | None = None
    person: bool = True
    reauthentication: str = ""


@dataclass
class Makers:
    """Makes objects of each kind. `owner` is a user's name."""

    services: Services
    users: dict[str, User] = field(default_factory=dict)
    pipelines: dict[str, str] = field(default_factory=dict)
    latest_pipeline: str = ""

    def callers(self) -> list[Caller]:
        everything = frozenset(Scope)
        found = [Caller("anonymous", "default", None, None)]
        found.append(self._person("disabled", self._user("disabled", "default"), None))
        for role in Role:
            found.append(self._person(role.value, self._user(role.value, "default"), role))
        found.append(self._person("rival", self._user("rival", "rivals", Role.admin), Role.admin))
        for owner, scopes in (
            ("admin", frozenset({Scope.read})),
            ("ml_engineer", everything),
        ):
            user = self.users[owner]
            key = self.services.keys.create(user.team, user.id, NewApiKey(name="key", scopes=scopes)).key
            found.append(Caller(owner, "default", f"Bearer {key}", user.role, scopes, person=False))
        for role, scopes in ((Role.admin, everything), (Role.viewer, frozenset({Scope.forecast}))):
            new = NewServiceAccount(name=f"machine-{role}", role=role, scopes=scopes)
            account = self.services.clients.create("default", "admin", new)
            token = tokens.issue(CLIENT + account.id, self.services.token_keys[0], 600)
            found.append(Caller(new.name, "default", f"Bearer {token}", role, scopes, person=False))
        self._user(COLLEAGUE["default"], "default")
        self._user(COLLEAGUE["rivals"], "rivals")
        self.services.accounts.change("default", self.users["disabled"].id, disabled=True)
        return found

    def _user(self, name: str, team: str, role: Role = Role.viewer) -> User:
        known = {user.user_name: user for user in self.services.accounts.all(team)}
        self.users[name] = known.get(name) or self.services.accounts.create(team, name, PASSWORD, role)
        return self.users[name]

    def _person(self, name: str, user: User, role: Role | None) -> Caller:
        """Somebody with a session, who gave the password again in it."""
        key, session = self.services.token_keys[0], self.services.sessions.start(user, LIFETIME).session_id
        again = tokens.issue(user.id, key, 600, session, audience="quantis-reauthentication")
        header = f"Bearer {tokens.issue(user.id, key, 600, session)}"
        return Caller(name, user.team, header, role, reauthentication=again)

    # One of each kind

    def user_id(self, team: str, owner: str) -> str:
        return self.users[owner].id if owner in self.users else MISSING

    def session_id(self, team: str, owner: str) -> str:
        return self.services.sessions.start(self.users[owner], LIFETIME).session_id

    def key_id(self, team: str, owner: str) -> str:
        new = NewApiKey(name="one", scopes=frozenset({Scope.read}))
        made = self.services.keys.create(team, self.users[owner].id, new).id
        self.services.keys.revoke(team, made)  # so that the number of living ones stays below its limit
        return made

    def client_id(self, team: str, owner: str) -> str:
        new = NewServiceAccount(name=f"one-{next(_NUMBERS)}")
        return self.services.clients.create(team, owner, new).id

    def job_id(self, team: str, owner: str) -> str:
        """A backtest job that has succeeded."""
        jobs, spec = self.services.jobs, BacktestSpec(dataset=DATASETS[team][0])
        job = jobs.request(team, owner, spec)
        found = Backtest(
            id=job.id, dataset="d", dataset_version=1, mode="plain", cutoffs=[START], h=1, refit=False, rows=[],
            overall=[], dimensions=["series"],
        )  # fmt: skip
        figures = pa.table({"model": ["m"], "label": ["a"], "rows": [1], "mase": [0.5]})
        rows = pa.table(
            {"model": ["m"], "unique_id": ["a"], "ds": [START], "cutoff": [START], "y": [1.0], "mean": [1.5]}
        )
        Backtests(self.services.settings.data_layout).save(team, job.id, {"series": figures, FORECASTS: rows})
        jobs.finish(team, job.id, JobState.succeeded, "done", {"backtest": found.model_dump(mode="json")})
        return job.id

    def failed_job_id(self, team: str, owner: str) -> str:
        job = self.services.jobs.request(team, owner, BacktestSpec(dataset=DATASETS[team][0]))
        self.services.jobs.finish(team, job.id, JobState.stopped, "stopped")
        return job.id

    def train_job_id(self, team: str, owner: str) -> str:
        """A training job that has succeeded."""
        jobs, spec = self.services.jobs, TrainSpec(dataset=DATASETS[team][0], model=MODELS[team])
        job = jobs.request(team, owner, spec)
        jobs.finish(team, job.id, JobState.succeeded, "done", worlds.train_result(job.id))
        return job.id

    def approval_id(self, team: str, owner: str) -> str:
        change = AliasChange(alias=f"a{next(_NUMBERS)}", version=1)
        return self.services.approvals.request(team, MODELS[team], owner, change).id

    def rule_id(self, team: str, owner: str) -> str:
        condition = Above(fact=FactName.drift, threshold=0.5)
        new = NewAlertRule(name=fresh("rule"), condition=condition, model="nobody", enabled=False)
        return self.services.alert_rules.create(team, owner, new).id

    def alert_id(self, team: str, owner: str) -> str:
        fact = Fact(name=FactName.drift, value=1.0, at=datetime.now(UTC), model=fresh("m"))
        return self.services.alerts.record_facts(team, [fact])[0].id

    def channel_id(self, team: str, owner: str) -> str:
        """A channel; those made before are deleted, so that there are never too many."""
        channels = self.services.alert_channels
        for channel in channels.all(team):
            channels.delete(team, channel.id)
        url, secret = SecretStr("https://hooks.example.org/x"), SecretStr("0123456789abcdef")
        return channels.create(team, owner, NewWebhook(name=fresh("hook"), url=url, secret=secret)).id

    def delivery_id(self, team: str, owner: str) -> str:
        """A notification that has arrived."""
        made = self.services.alert_channels.test(team, self.channel_id(team, owner))
        self.services.alert_deliveries.settle(team, made, "200")
        return made

    def forecast_id(self, team: str, owner: str) -> str:
        name = f"f-{next(_NUMBERS)}"
        response = ForecastResponse(
            forecast_id=name, model=ModelRef(name="m", version=1, alias=None, family="f"), dataset=None,
            freq="h", as_of=START, issued_at=START, forecasts=[],
        )  # fmt: skip
        request = ForecastRequest.model_validate({"series": [{"unique_id": "a"}]})
        self.services.vintages.append(team, request, response)
        return name

    def schedule_id(self, team: str, owner: str) -> str:
        schedules, new = self.services.schedules, _schedule(team)
        return schedules.create(team, self._author(owner), new, PlannedTimes(START, START)).id

    def experiment_id(self, team: str, owner: str) -> str:
        """An experiment that runs."""
        new = NewOnlineExperiment.model_validate(self.experiment(team))
        return self.services.online_experiments.create(team, self._author(owner), new, 1).id

    def experiment(self, team: str) -> dict[str, Any]:
        """A new experiment; the one before it is stopped, so that its model is free."""
        experiments = self.services.online_experiments
        for running in experiments.page(team, state=OnlineExperimentState.running).items:
            experiments.end(team, running.id, OnlineExperimentState.stopped, "for the next one")
        return {"name": fresh("trial"), "model": MODELS[team], "challenger": 2}

    def pipeline(self, team: str, owner: str) -> str:
        """One for each owner, made anew where it was deleted."""
        name = self.pipelines.setdefault(f"{team}/{owner}", fresh("chain"))
        self.services.pipelines.apply(team, self._author(owner), name, _chain(team))
        self.latest_pipeline = name
        return name

    def run_id(self, team: str, owner: str) -> str:
        """A run of the pipeline that was made last."""
        author = self._author(owner)
        return self.services.pipeline_runs.start(team, author, self.latest_pipeline, owner).id

    def _author(self, owner: str) -> Author:
        return Author("user", self.users[owner].id if owner in self.users else MISSING, owner)

    # What some calls need to find

    def deleted(self, team: str, dataset: str) -> None:
        if SERIES in self._living(team, dataset):
            self.services.catalogue.delete_series(team, "admin", dataset, SERIES)

    def living(self, team: str, dataset: str) -> None:
        if SERIES not in self._living(team, dataset):
            self.services.catalogue.restore_series(team, "admin", dataset, SERIES)

    def _living(self, team: str, dataset: str) -> set[str]:
        opened = self.services.catalogue.open(team, dataset)
        return set(opened.store.series(opened.pins)["unique_id"].to_pylist())

    def code(self, caller: Caller, *, on: bool) -> dict[str, Any]:
        """A right code of a caller who is a person, and the factor in the state that the call needs."""
        user = self.users.get(caller.name)
        if user is None or not caller.person:
            return {"code": "000000"}
        self._factor(user, totp=None, totp_on=False)
        secret = self.services.second_factors.begin(user.id).secret
        self._factor(user, totp_on=on)
        return {"code": pyotp.TOTP(secret).now()}

    def _factor(self, user: User, **values: Any) -> None:
        with self.services.database.write() as session:
            session.execute(update(UserRow).where(UserRow.id == user.id).values(totp_step=0, **values))


Body = dict[str, Any] | Callable[[Makers, Caller], dict[str, Any]]


def fresh(prefix: str) -> str:
    return f"{prefix}-{next(_NUMBERS)}"


def _chain(team: str) -> PipelineDefinition:
    step = PipelineStep(name="score", job=BacktestSpec(dataset=DATASETS[team][0], h=3))
    return PipelineDefinition(steps=(step,))


def _schedule(team: str) -> NewSchedule:
    target = JobTarget(spec=BacktestSpec(dataset=DATASETS[team][0], h=3))
    return NewSchedule(name=fresh("nightly"), cron="0 6 * * *", starts=target)


CSV = "unique_id,ds,y,temp,scheduled,carrier\n" + "".join(
    f"a,2024-01-{hour // 24 + 1:02d}T{hour % 24:02d}:00Z,{hour},1,2,XX\n" for hour in range(72)
)
_UPLOAD = {"content": CSV, "headers": {"Content-Type": "text/csv"}}
BODIES: dict[tuple[str, str], Body] = {
    ("GET", "/v1/models/{name}/at"): {"params": {"time": "2200-01-01T00:00:00Z"}},
    ("POST", "/v1/setup"): {"json": {"secret": "x", "user_name": "x", "password": PASSWORD}},
    ("POST", "/v1/oauth/token"): {
        "data": {"grant_type": "password", "username": "colleague", "password": PASSWORD}
    },
    ("POST", "/v1/oauth/revoke"): {"data": {"token": "unknown"}},
    ("POST", "/v1/users"): lambda makers, caller: {
        "json": {"user_name": fresh("new"), "password": PASSWORD, "role": "viewer"}
    },
    ("PATCH", "/v1/users/{user_id}"): {"json": {"disabled": False}},
    ("POST", "/v1/users/me/password"): {"json": {"current": PASSWORD, "new": PASSWORD}},
    ("PUT", "/v1/users/me/second-factor"): lambda makers, caller: {"json": makers.code(caller, on=False)},
    ("DELETE", "/v1/users/me/second-factor"): lambda makers, caller: makers.code(caller, on=True) and {},
    ("POST", "/v1/users/me/reauthentication"): {"json": {"password": PASSWORD}},
    ("POST", "/v1/api-keys"): {"json": {"name": "made", "expires_in": "PT1H"}},
    ("POST", "/v1/clients"): lambda makers, caller: {"json": {"name": fresh("client")}},
    ("PATCH", "/v1/clients/{client_id}"): {"json": {"disabled": False}},
    ("POST", "/v1/teams"): lambda makers, caller: {
        "json": {"name": fresh("team"), "admin_name": fresh("boss"), "admin_password": PASSWORD}
    },
    ("PATCH", "/v1/teams/{team}"): {"json": {"quota": {}}},
    ("POST", "/v1/datasets"): lambda makers, caller: {"json": {"name": fresh("set"), "freq": "D"}},
    ("POST", "/v1/datasets/{name}/check"): _UPLOAD,
    ("POST", "/v1/datasets/{name}/versions"): _UPLOAD,
    ("POST", "/v1/datasets/{name}/observations"): {
        "json": {"series": [{"unique_id": SERIES, "ds": ["2024-01-01T00:00:00Z"], "y": [100.0]}]}
    },
    ("POST", "/v1/datasets/{name}/imports"): {"json": {"url": "s3://not-a-bucket-of-ours/file.csv"}},
    ("GET", "/v1/datasets/{name}/revisions"): {"params": {"series": SERIES}},
    ("POST", "/v1/jobs"): lambda makers, caller: {
        "json": {"spec": {"kind": "backtest", "dataset": DATASETS[caller.team][0], "h": 3}}
    },
    ("PUT", "/v1/pipelines/{pipeline}"): lambda makers, caller: {"json": _chain(caller.team).model_dump(mode="json")},
    ("POST", "/v1/jobs/{job_id}/retry"): {"json": {}},
    ("POST", "/v1/jobs/{job_id}/clone"): {"json": {}},
    ("POST", "/v1/schedules"): lambda makers, caller: {"json": _schedule(caller.team).model_dump(mode="json")},
    ("PATCH", "/v1/schedules/{schedule_id}"): {"json": {"paused": True}},
    ("PUT", "/v1/models/{name}/aliases/{alias}"): {"json": {"version": 1}},
    ("POST", "/v1/alert-rules"): lambda makers, caller: {
        "json": {"name": fresh("rule"), "condition": {"kind": "above", "fact": "drift", "threshold": 0.5}}
    },
    ("POST", "/v1/alert-channels"): lambda makers, caller: {
        "json": {"kind": "webhook", "name": fresh("hook"), "url": "https://hooks.example.org/x",
                 "secret": "0123456789abcdef"}
    },
    ("PATCH", "/v1/alert-channels/{channel_id}"): {"json": {"enabled": True}},
    ("PATCH", "/v1/alert-rules/{rule_id}"): {"json": {"severity": "info"}},
    ("POST", "/v1/experiments-online"): lambda makers, caller: {"json": makers.experiment(caller.team)},
    ("PUT", "/v1/models/{name}/calibration"): {"json": {"enabled": True}},
    ("PUT", "/v1/models/{name}/policy"): {"json": {"policy": "gate"}},
    ("PUT", "/v1/models/{name}/traffic"): {"json": {"shares": []}},
    ("POST", "/v1/models/{ref}/forecasts"): {"json": {"series": [{"unique_id": SERIES}]}},
}  # fmt: skip
