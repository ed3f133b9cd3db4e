"""Jobs tried again, cloned, ordered, and their probable end: over HTTP, SDK and command line."""

from __future__ import annotations

import json

import pytest

from quantis.errors import Conflict, Forbidden, InvalidInput
from quantis.types.job_specs import BacktestSpec, CompactSpec
from quantis.types.jobs import JobError, JobState

SPEC = BacktestSpec(dataset="flights", families=("seasonal_naive",), h=24)


def test_when_a_job_is_retried_or_cloned_then_a_new_one_has_its_specification_but_for_the_changes(
    sdk_of, world
):
    with sdk_of("analyst") as sdk:
        first = sdk.submit(SPEC, priority="high", retries=1)
        assert first.priority == "high"
        with pytest.raises(Conflict, match="clone"):
            sdk.retry_job(first.id)
        world.services.jobs.request_stop("default", first.id)
        again = sdk.retry_job(first.id, "by hand")
        assert (again.retry_of, again.spec, again.priority) == (first.id, first.spec, "high")
        clone = sdk.clone_job(first.id, {"h": 12})
        assert (clone.spec.h, clone.spec.families, clone.retry_of) == (12, first.spec.families, None)
        for changes in ({"h": 0}, {"dataset": 3}, {"entrypoint": "rm"}, {"h": 5000}):
            with pytest.raises(InvalidInput):
                sdk.clone_job(first.id, changes)
        follower = sdk.submit(SPEC, after=(again.id,))
        assert follower.after == (again.id,)


def test_when_a_role_may_not_start_a_job_then_it_may_not_try_it_again_or_clone_it(sdk_of, world):
    with sdk_of("admin") as admin, sdk_of("analyst") as analyst:
        job = admin.submit(CompactSpec(dataset="flights"))
        world.services.jobs.fail("default", job.id, JobError(cause="It broke.", remedy="Mend it."))
        with pytest.raises(Forbidden, match="compact job"):
            analyst.retry_job(job.id)
        with pytest.raises(Forbidden, match="compact job"):
            analyst.clone_job(job.id)


def test_when_a_job_runs_then_its_probable_end_follows_from_earlier_ones(sdk_of, world):
    jobs = world.services.jobs
    with sdk_of("analyst") as sdk:
        earlier = sdk.submit(SPEC)
        jobs.start("default", earlier.id)
        assert sdk.job(earlier.id).eta is None
        jobs.finish("default", earlier.id, JobState.succeeded, "done")
        done = sdk.job(earlier.id)
        running = sdk.submit(SPEC)
        jobs.start("default", running.id)
        job = sdk.job(running.id)
        assert job.eta - job.started_at == done.ended_at - done.started_at
        assert done.eta is None


def test_when_jobs_are_tried_again_from_the_command_line_then_the_new_job_is_named(cli, tmp_path, world):
    file = tmp_path / "job.yaml"
    file.write_text("kind: backtest\ndataset: flights\nfamilies: [seasonal_naive]\n")
    first = json.loads(cli("jobs", "submit", str(file), "--priority", "low", "--json")[1])["id"]
    assert cli("jobs", "retry", first)[0] == 4
    world.services.jobs.request_stop("default", first)
    again = json.loads(cli("jobs", "retry", first, "--reason", "by hand", "--json")[1])
    assert (again["retry_of"], again["priority"]) == (first, "low")
    assert json.loads(cli("jobs", "clone", first, "--set", "h=12", "--json")[1])["spec"]["h"] == 12
    assert cli("jobs", "clone", first, "--set", "h")[0] == 2
    follower = json.loads(cli("jobs", "submit", str(file), "--after", again["id"], "--json")[1])["id"]
    assert again["id"] in cli("jobs", "show", follower)[1]
