"""Training and jobs on the command line."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from quantis.client import Client
from quantis.testing import FakeApi
from quantis.types.job_specs import Preset, TrainSpec
from quantis.types.jobs import Job, JobError, JobState
from tests.quantis.cli.conftest import finished, leaderboard, start


@pytest.fixture(autouse=True)
def dataset(server: str, csv: Path, quantis: Any) -> None:
    assert quantis("data", "push", "hourly", str(csv), "--hist", "temp").code == 0


@pytest.fixture
def job(server: str) -> Job:
    with Client() as client:
        return client.submit(TrainSpec(dataset="hourly", model="demand"))


def newest(api: FakeApi) -> Job:
    """The job that a command running beside has submitted."""
    for _ in range(200):
        if api.jobs.jobs:
            return list(api.jobs.jobs.values())[-1]
        time.sleep(0.02)
    raise AssertionError("no job was submitted")


def meanwhile(act: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=act)
    thread.start()
    return thread


def works(api: FakeApi, state: JobState = JobState.succeeded) -> Callable[[], None]:
    def act() -> None:
        job = newest(api)
        api.emit(job.id, "running", state=JobState.running)
        api.emit(job.id, "features", progress=0.4)
        if state is JobState.succeeded:
            api.leaderboards[job.id] = leaderboard(job.id)
        api.emit(job.id, "the end", state=state, progress=1.0)

    return act


def test_when_training_succeeds_then_its_story_is_on_stderr_and_its_leaderboard_on_stdout(
    quantis: Any, api: FakeApi
) -> None:
    thread = meanwhile(works(api))
    done = quantis(
        "train", "hourly", "--model", "demand", "--families", "seasonal_naive, boosting", "--windows", "3"
    )
    thread.join()
    assert done.code == 0
    assert [word for word in ("running", "features", "the end", "succeeded") if word not in done.err] == []
    rows = [line.split() for line in done.out.splitlines()[2:]]
    figures = ["0.800", "0.100", "0.200", "0.790", "0.200", "0.004", "3.0", "90 kB"]
    assert rows[0] == ["1", "boosting", "*", *" ".join(figures).split(), "better"]
    assert rows[2][:3] == ["3", "tft", "–"]
    assert rows[2][-3:] == ["out", "of", "memory"]
    spec = newest(api).spec
    assert isinstance(spec, TrainSpec)
    assert (spec.families, spec.n_windows, spec.time_limit) == (("seasonal_naive", "boosting"), 3, None)


def test_when_a_preset_and_a_time_limit_are_given_then_the_job_has_them(quantis: Any, api: FakeApi) -> None:
    preset = ("--preset", "fast", "--time-limit", "90s")
    assert quantis("train", "hourly", "--model", "demand", *preset, "--no-wait").code == 0
    spec = newest(api).spec
    assert isinstance(spec, TrainSpec)
    assert (spec.families, spec.time_limit) == (Preset.fast.families, timedelta(seconds=90))
    assert quantis("train", "hourly", "--model", "demand", "--no-wait").code == 0
    spec = newest(api).spec
    assert isinstance(spec, TrainSpec)
    assert (spec.preset, spec.time_limit) == (Preset.balanced, timedelta(minutes=10))
    refused = quantis("train", "hourly", "--model", "demand", "--preset", "slow")
    assert refused.code == 2
    assert "'fast', 'balanced' or 'best'" in refused.err


def test_when_training_fails_then_code_1_and_where_its_log_is(quantis: Any, api: FakeApi) -> None:
    thread = meanwhile(works(api, JobState.failed))
    done = quantis("train", "hourly", "--model", "demand")
    thread.join()
    assert done.code == 1
    assert f"quantis jobs logs {newest(api).id}" in done.err
    assert done.out == ""


def test_when_a_job_failed_then_cause_and_remedy_are_shown_and_details_on_request(
    quantis: Any, api: FakeApi, job: Job
) -> None:
    error = JobError(
        cause="The worker ran out of memory.", remedy="Train with fewer series.", details="pid=7"
    )
    api.emit(job.id, error.message, state=JobState.failed, error=error)
    watched = quantis("jobs", "watch", job.id)
    assert watched.code == 1
    assert "failed after 0 s, The worker ran out of memory.\nTrain with fewer series.\n" in watched.err
    shown = quantis("jobs", "show", job.id)
    assert [
        line.split()[0] for line in shown.out.splitlines() if error.cause in line or error.remedy in line
    ] == [
        "cause",
        "remedy",
    ]
    assert "pid=7" not in shown.out
    assert "pid=7" in quantis("jobs", "show", job.id, "--details").out
    assert quantis("jobs", "show", job.id, "--json").json["error"]["remedy"] == error.remedy
    assert quantis("jobs", "status", job.id).out == shown.out


@pytest.mark.parametrize(
    ("state", "code"), [(JobState.succeeded, 0), (JobState.failed, 1), (JobState.stopped, 1)]
)
def test_when_json_is_asked_for_then_the_ended_job_is_the_one_object(
    quantis: Any, api: FakeApi, state: JobState, code: int
) -> None:
    thread = meanwhile(works(api, state))
    done = quantis("train", "hourly", "--model", "demand", "--json")
    thread.join()
    assert (done.code, done.json["state"]) == (code, state.value)


def test_when_a_model_is_named_to_go_on_from_then_the_job_has_it(quantis: Any, api: FakeApi) -> None:
    train = ("train", "hourly", "--model", "demand", "--families", "tft", "--no-wait")
    assert quantis(*train, "--from", "demand@champion").code == 0
    spec = newest(api).spec
    assert isinstance(spec, TrainSpec)
    assert spec.warm_start == "demand@champion"
    assert quantis(*train, "--from", "not a model").code == 2


def test_when_a_search_has_a_time_limit_then_the_job_has_it(quantis: Any, api: FakeApi) -> None:
    done = quantis("tune", "hourly", "--model", "demand", "--time-limit", "10min", "--no-wait", "--json")
    assert done.json["spec"]["time_limit"] == "PT10M"


def test_when_not_waiting_then_the_job_is_only_submitted(quantis: Any, api: FakeApi) -> None:
    done = quantis(
        "train",
        "hourly",
        "--model",
        "demand",
        "--no-wait",
        "--steps",
        "30",
        "--as-of",
        "2024-01-03",
        "--json",
    )
    assert (done.code, done.json["state"]) == (0, "PENDING")
    assert done.json["spec"]["tft"]["steps"] == 30
    assert done.json["spec"]["as_of"] == "2024-01-03T00:00:00Z"
    tuned = quantis("tune", "hourly", "--model", "demand", "--trials", "2", "--no-wait", "--json").json
    assert (tuned["kind"], tuned["spec"]["trials"]) == ("tune", 2)


def test_when_the_time_is_over_then_code_6_and_the_job_goes_on(quantis: Any, job: Job) -> None:
    done = quantis("jobs", "watch", job.id, "--timeout", "0.3")
    assert done.code == 6
    assert "goes on" in done.err
    as_json = quantis("jobs", "watch", job.id, "--timeout", "0", "--json")
    assert (as_json.code, as_json.json["error"]["code"]) == (6, "timed_out")


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_when_interrupted_then_130_and_the_job_goes_on(api: FakeApi, job: Job, form: tuple[str, ...]) -> None:
    api.emit(job.id, "halfway there")
    process = start("jobs", "watch", job.id, *form)
    assert process.stderr is not None
    assert "halfway there" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    done = finished(process)
    assert done.code == 130
    assert f"job {job.id} goes on" in done.err
    assert "Traceback" not in done.err
    assert api.jobs.jobs[job.id].state is JobState.pending


def test_when_jobs_are_listed_then_newest_first_and_filtered(quantis: Any, api: FakeApi, job: Job) -> None:
    api.emit(job.id, "on its way", state=JobState.running, progress=0.25)
    other = quantis("train", "hourly", "--model", "m", "--no-wait", "--json").json
    assert [item["id"] for item in quantis("jobs", "ls", "--json").json["items"]] == [other["id"], job.id]
    listed = quantis("jobs", "ls", "--state", "running")
    assert listed.out.splitlines()[2].split()[:4] == [job.id, "train", "RUNNING", "25%"]
    assert len(listed.out.splitlines()) == 3


def test_when_one_job_is_asked_for_then_its_state_log_and_stop(quantis: Any, api: FakeApi, job: Job) -> None:
    api.emit(job.id, "a line of its log")
    assert "PENDING" in quantis("jobs", "status", job.id).out
    assert quantis("jobs", "logs", job.id).out == "a line of its log\n"
    assert quantis("jobs", "logs", job.id, "--json").json == {"text": "a line of its log\n"}
    assert quantis("jobs", "stop", job.id, "--json").json["state"] == "STOPPED"
    assert quantis("jobs", "status", job.id, "--json").json["state"] == "STOPPED"
    assert quantis("jobs", "status", "nothing").code == 4


@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_when_a_file_describes_a_job_then_it_is_submitted_as_written(
    quantis: Any, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / f"job.{kind}"
    values = {"kind": "forecast", "dataset": "hourly", "model": "demand", "origins": 7, "baselines": ["temp"]}
    text = (
        json.dumps(values)
        if kind == "json"
        else "\n".join(f"{k}: {json.dumps(v)}" for k, v in values.items())
    )
    path.write_text(text)
    done = quantis("jobs", "submit", str(path), "--json")
    assert done.code == 0
    assert {key: done.json["spec"][key] for key in values} == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: train\ndataset: hourly\n", "model"),
        ("kind: dance\n", "dance"),
        ("kind: train\ndataset: hourly\nmodel: m\nentrypoint: rm -rf /\n", "entrypoint"),
        ("a: [", "YAML"),
        ("just words", "job"),
    ],
)
def test_when_a_file_describes_no_job_then_code_2_and_the_field(
    quantis: Any, api: FakeApi, tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    done = quantis("jobs", "submit", str(path))
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
    assert api.jobs.jobs == {}
