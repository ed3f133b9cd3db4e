"""Makes the data folder of before, and what it answers: `fixtures/data_folder.tar.xz` and `fixtures/expected.json`.

It was run at commit 9dc9aba, once, by hand, in a checkout of that commit with its development environment:

    python -m tests.compat.make_data_folder

It takes some minutes: every job runs as the platform runs it, on a Ray of its own. What it makes is a data folder
of that commit's code, so it is not to be made again by later code; that code is to open it as it is.

What is in it: the datasets `shops` (eight invented daily series, a correction) and `visits` (files of an inbox, a
deleted series, compacted); a model of every family that serves, under names of their own, and `demand`, which two
train jobs made; jobs of every kind, one that failed and one that was stopped; forecasts that were issued, and one
that still waits for the database; a person of every role, one of them with a second factor; a key, a service
account; requests for approval; the audit trail of all that.
"""

# mypy: ignore-errors
# (it is checked, and runs, with the code of the commit above only)

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import update

from cluster.database.dumps import relocate_artifacts
from cluster.database.tables import ApiKeyRow
from cluster.model_ops.lineage import lineage
from cluster.repositories.vintages import Vintages
from cluster.settings import Settings, application_root, child_environment
from features.store.snapshots import PanelSnapshots
from jobs.evaluation import candidates
from jobs.evaluation.candidates import Candidate
from models.evaluation.promotion_gate import GateDecision
from models.families.boosting import training
from models.families.ensemble import Ensemble
from models.families.tft.training import fit as fit_tft
from models.forecaster import Forecaster
from models.postprocessing.calibration import Calibration, with_calibration
from models.registry.bundle import write_bundle
from quantis.panel import Snapshot, Task
from quantis.types.accounts import REAUTHENTICATION_HEADER
from quantis.types.forecasts import ForecastRequest, ForecastResponse
from quantis.types.job_specs import TftParams
from quantis.types.jobs import JobState
from tests.compat.invented import AS_OF, DAYS, END, FIRST_DAY, QUANTILES, SPEC, H, correction, shops, visits
from tests.compat.opening import ARCHIVE, EXPECTED, ROOT, TEAM, Opened, code_of, opened, unpacked
from tests.compat.questions import FAMILIES, asked_for, questions

COMMIT = "9dc9aba"
PASSWORD = "correct horse battery"
ROLES = {"bob": "analyst", "cleo": "ml_engineer", "dora": "ml_engineer", "eve": "viewer"}
TFT = TftParams(hidden_size=8, encoder_length=14, batch_size=16, steps=40, workers=1)


class Maker:
    """Fills an open data folder, mostly through the API, by whoever may do it."""

    def __init__(self, world: Opened) -> None:
        self.world = world
        self.jobs: dict[str, str] = {}
        self.forecasts: dict[str, str] = {}
        self.audited = ""

    def send(self, who: str, method: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.world.token(who)}", **more.pop("headers", {})}
        answer = self.world.client.request(method, path, headers=headers, **more)
        assert answer.is_success, (path, answer.text)
        return answer.json() if answer.content else None

    def send_reauthenticated(self, who: str, method: str, path: str, **more: Any) -> Any:
        """Send what hands out or changes credentials, for which the password is given again."""
        again = self.send(who, "POST", "/v1/users/me/reauthentication", json={"password": PASSWORD})
        return self.send(who, method, path, headers={REAUTHENTICATION_HEADER: again["token"]}, **more)

    def people(self) -> None:
        services, known = self.world.services, self.world.people
        secret = services.settings.make_secret("setup-secret")
        setup = {"secret": secret, "user_name": "ann", "password": PASSWORD}
        assert self.world.client.post("/v1/setup", json=setup).status_code == 201
        for name, role in ROLES.items():
            new = {"user_name": name, "password": PASSWORD, "role": role}
            self.send_reauthenticated("ann", "POST", "/v1/users", json=new)
        eve = self._user("eve")
        self.send_reauthenticated("ann", "PATCH", f"/v1/users/{eve}", json={"disabled": True})
        known["dora"]["totp"] = self._second_factor("dora")
        wanted = {"name": "desk", "scopes": ["read", "forecast"]}
        key = self.send_reauthenticated("bob", "POST", "/v1/api-keys", json=wanted)
        known["bob's key"] = {"key": key["key"]}
        wanted = {"name": "till", "role": "analyst"}
        account = self.send_reauthenticated("ann", "POST", "/v1/clients", json=wanted)
        known["till"] = {
            "grant_type": "client_credentials", "client_id": account["id"], "client_secret": account["client_secret"],
        }  # fmt: skip
        never = datetime(2199, 1, 1, tzinfo=UTC)  # a key lasts a year at most, this folder longer
        with services.database.write() as session:
            session.execute(update(ApiKeyRow).values(expires_at=never))

    def _user(self, name: str) -> str:
        users = self.send("ann", "GET", "/v1/users")["items"]
        return str(next(user["id"] for user in users if user["user_name"] == name))

    def _second_factor(self, who: str) -> str:
        """Turned on; to sign in with it takes a later code, which there is by the time that somebody asks."""
        secret = str(self.send_reauthenticated(who, "POST", "/v1/users/me/second-factor")["secret"])
        self.send(who, "PUT", "/v1/users/me/second-factor", json={"code": code_of(secret)})
        return secret

    def datasets(self) -> None:
        self.send("bob", "POST", "/v1/datasets", json=SPEC)
        for text, file in ((shops(), "shops.csv"), (correction(), "correction.csv")):
            self.send(
                "bob", "POST", f"/v1/datasets/shops/versions?file={file}",
                content=text.encode(), headers={"Content-Type": "text/csv"},
            )  # fmt: skip
        self.send("bob", "POST", "/v1/datasets", json={"name": "visits", "freq": "D"})
        folder = self.world.services.settings.data_layout.inbox(TEAM) / "january"
        folder.mkdir(parents=True)
        for number, name in enumerate(("door/1", "door/2", "door/3")):
            (folder / f"door-{number}.csv").write_text(visits(name, 10 * number + 5))
        self.job("ingest", "cleo", {"kind": "ingest", "dataset": "visits", "folder": "january"})
        self.send("cleo", "DELETE", "/v1/datasets/visits/series/door/2")
        live = {"unique_id": "door/1", "ds": ["2024-01-31T00:00:00Z"], "y": [11.0]}
        self.send("bob", "POST", "/v1/datasets/visits/observations", json={"series": [live]})
        self.job("compact", "ann", {"kind": "compact", "dataset": "visits", "retention": "PT0S"})

    def job(self, name: str, who: str, spec: dict[str, Any], key: str = "", fails: bool = False) -> None:
        """Asked for over the API, done by a process of its own as Ray's job server starts one."""
        print(name, flush=True)
        once = {"Idempotency-Key": key} if key else {}
        job_id = str(self.send(who, "POST", "/v1/jobs", json={"spec": spec}, headers=once)["id"])
        self.jobs[name] = job_id
        settings = self.world.services.settings
        quiet = {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TRAIN_V2_ENABLED": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        done = subprocess.run(
            [sys.executable, "-m", f"jobs.{spec['kind']}", "--job", job_id],
            env=child_environment(settings, quiet), cwd=application_root(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        state = self.world.services.jobs.get(TEAM, job_id).state
        assert state == (JobState.failed if fails else JobState.succeeded), done.stdout + done.stderr
        self.settle()

    def settle(self) -> None:
        """Nothing is left that a platform which opens the folder would have to do."""
        for item in self.world.services.jobs.due():
            self.world.services.jobs.settle(item)

    def models(self) -> None:
        """A version of each family, published without a job; of boosting with a few trees."""
        training.ROUNDS, training.FAN_ROUNDS = 25, 12
        opened_dataset = self.world.services.catalogue.open(TEAM, "shops")
        task = opened_dataset.task(AS_OF, H, QUANTILES)
        last = np.datetime64(FIRST_DAY.replace(tzinfo=None) + timedelta(days=DAYS - 1), "us")
        now = PanelSnapshots(opened_dataset.panel(AS_OF), task)(last)
        for family in FAMILIES:
            print(family, flush=True)
            name = f"by-{family.replace('_', '-')}"
            self._publish(name, _fitted(family, now, task), now)
            self.send("cleo", "PUT", f"/v1/models/{name}/aliases/champion", json={"version": 1})
        self._publish("by-theta", _fitted("seasonal_naive", now, task), now)
        self.send("cleo", "PUT", "/v1/models/by-theta/aliases/steady", json={"version": 1})
        shares = [{"version": 2, "percent": 50}]
        self.send("cleo", "PUT", "/v1/models/by-theta/traffic", json={"shares": shares})

    def _publish(self, name: str, forecaster: Forecaster, now: Snapshot) -> None:
        gate = GateDecision("seasonal_naive_7", True, 0.5, 0.1, 1.0, 0.3, "made for a test")
        with tempfile.TemporaryDirectory() as folder:
            bundle = write_bundle(Path(folder) / "bundle", forecaster, now, lineage(application_root()))
            self.world.services.registry(TEAM).publish(
                name, bundle, metrics={"mase": 0.5, "wql": 0.1}, gate=gate
            )

    def work(self) -> None:
        compared = {"dataset": "shops", "h": H, "quantiles": QUANTILES, "as_of": END, "n_windows": 3}
        tft = TFT.model_dump()
        train = {"kind": "train", "model": "demand", **compared, "tft": tft, "baselines": ["plan"]}
        families = ["theta", "statistical", "boosting", "tft", "ensemble"]
        self.job("train", "cleo", {**train, "families": families}, key="train-once")
        self.job("train again", "cleo", {**train, "families": ["boosting"]})
        backtest = {"kind": "backtest", **compared, "families": ["theta", "boosting"]}
        self.job("backtest", "bob", {**backtest, "segments": ["region"]})
        self.job("backtest as known then", "bob", {
            **backtest, "families": ["theta"], "backtest_mode": "vintage", "refit": True, "hierarchy": [["region"]],
        })  # fmt: skip
        forecast = {"kind": "forecast", "dataset": "shops", "model": "demand", "as_of": END}
        self.job(
            "forecast",
            "bob",
            {**forecast, "score": True, "origins": 2, "baselines": ["plan"], "hierarchy": [["region"]]},
        )
        self.job("forecast ahead", "bob", {**forecast, "score": False, "h": 3})
        self.job("featurize", "cleo", {"kind": "featurize", "dataset": "shops", "h": H, "as_of": END})
        tune = {
            "kind": "tune",
            "dataset": "shops",
            "model": "demand",
            "h": H,
            "quantiles": QUANTILES,
            "as_of": END,
        }
        self.job("tune", "cleo", {**tune, "trials": 2, "tft": {**tft, "steps": 20}})
        self.job("failed", "bob", {**forecast, "dataset": "visits"}, fails=True)
        stopped = self.send("bob", "POST", "/v1/jobs", json={"spec": forecast})["id"]
        self.send("cleo", "POST", f"/v1/jobs/{stopped}/stop")
        self.world.services.jobs.finish(TEAM, stopped, JobState.stopped, "stopped before it began")
        self.jobs["stopped"] = stopped
        self.settle()

    def approvals(self) -> None:
        self.send("ann", "PUT", "/v1/models/demand/policy", json={"policy": "two_person"})
        asked = self.send("cleo", "PUT", "/v1/models/demand/aliases/summer", json={"version": 1})
        self.send("dora", "POST", f"/v1/approvals/{asked['id']}/approve")
        self.send("cleo", "PUT", "/v1/models/demand/aliases/winter", json={"version": 2})

    def issue(self) -> None:
        for ref in ("by-boosting", "by-tft", "demand"):
            made = self.send("bob's key", "POST", f"/v1/models/{ref}/forecasts", json=asked_for())
            self.forecasts[ref] = made["forecast_id"]
        once = self.send(
            "bob", "POST", "/v1/models/by-theta/forecasts",
            json=asked_for(), headers={"Idempotency-Key": "forecast-once"},
        )  # fmt: skip
        self.forecasts["once"] = once["forecast_id"]
        self._wait(ForecastResponse.model_validate(once))

    def _wait(self, made: ForecastResponse) -> None:
        """One that was issued while the database did not answer: the folder `waiting` still has it."""
        services = self.world.services
        waits = made.model_copy(update={"forecast_id": "5f9c1f0e-2f5c-4f6a-9b7e-0d3c5a1e7b42"})
        request = ForecastRequest.model_validate(asked_for())
        Vintages(services.database, services.settings.data_layout.waiting)._set_aside(TEAM, request, waits)
        self.forecasts["waiting"] = waits.forecast_id

    def last_audited(self) -> None:
        """Remember the end of the trail, so that the events of later readers are left out."""
        self.audited = self.send("ann", "GET", "/v1/audit-events?limit=1")["next_cursor"]


def _fitted(family: str, now: Snapshot, task: Task) -> Forecaster:
    match family:
        case "tft":
            return fit_tft(now, task, TFT)
        case "ensemble":
            parts = [(0.6, _fitted("boosting", now, task)), (0.4, _fitted("seasonal_naive", now, task))]
            return Ensemble(task, parts)
        case "last_value":
            from models.families.naive import LastValue

            return LastValue(task)
    found = candidates.fit_candidate(Candidate(family, family, season=7), now, task)
    if family == "statistical":
        factors: dict[str, tuple[float, ...]] = {"q0.1": (1.2, 1.5), "q0.9": (1.2, 1.5)}
        return with_calibration(found, Calibration(ends=(3, H), factors=factors))
    return found


def pack(folder: Path, given: Path, archive: Path) -> None:
    """A copy of the folder `given` as it would lie in ROOT, its databases without free pages, in one small file."""
    layout = Settings(data_dir=folder).data_layout
    relocate_artifacts(layout.mlflow_database, given / "artifacts", ROOT / "artifacts")
    relocate_artifacts(layout.mlflow_database, Path.cwd() / "mlruns", ROOT / "mlruns")  # MLflow's own default
    for database in (layout.database, layout.mlflow_database):
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("PRAGMA journal_mode=DELETE")
            connection.execute("VACUUM")
    for name in ("training", "run", "logs", "metrics", "incoming"):  # made again by a start, or of a process
        shutil.rmtree(folder / name, ignore_errors=True)
    archive.parent.mkdir(exist_ok=True)
    with tarfile.open(archive, "w:xz", preset=9) as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                tar.add(path, path.relative_to(folder).as_posix(), filter=_nobodys)


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def record(maker: Maker, folder: Path) -> dict[str, Any]:
    """The questions with their answers, as the packed folder gives them when it is opened elsewhere."""
    train = maker.world.services.jobs.get(TEAM, maker.jobs["train"])
    asked = [*questions(maker.jobs, maker.forecasts, train.spec.model_dump(mode="json"), maker.audited)]
    people = maker.world.people
    with opened(folder, people) as world:
        answered = [question | {"answer": world.ask(question)} for question in asked]
    assert all(question["answer"]["status"] in (200, 202, 404) for question in answered), answered
    return {"commit": COMMIT, "people": people, "questions": answered}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, help="a new folder to fill, and to leave there for a look")
    for name in [name for name in os.environ if name.startswith("QUANTIS_")]:
        del os.environ[name]
    given = parser.parse_args().into
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given or Path(temporary) / "data").absolute()
        settings = Settings(data_dir=folder)
        settings.data_layout.prepare()
        for name in ("jwt-secret", "encryption-key"):
            settings.make_secret(name)
        people = {
            name: {"grant_type": "password", "username": name, "password": PASSWORD}
            for name in ("ann", *ROLES)
        }
        with opened(folder, people) as world:
            maker = Maker(world)
            for step in (
                maker.people,
                maker.datasets,
                maker.models,
                maker.work,
                maker.issue,
                maker.approvals,
            ):
                step()
                world.sign_out()  # a token lasts ten minutes
            maker.last_audited()
            pack(Path(shutil.copytree(folder, Path(temporary) / "copy")), folder, ARCHIVE)
            time.sleep(60)  # until the second factor has a code that was not used yet
            expected = record(maker, unpacked(ARCHIVE, Path(temporary) / "unpacked"))
    lines = [json.dumps(question, ensure_ascii=False) for question in expected.pop("questions")]
    head = json.dumps(expected, ensure_ascii=False)[:-1]
    EXPECTED.write_text(head + ', "questions": [\n' + ",\n".join(lines) + "\n]}\n")
    print(f"{len(lines)} answers; {ARCHIVE.stat().st_size:,} and {EXPECTED.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
