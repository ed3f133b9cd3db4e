"""Pipelines over HTTP, from the SDK and from the command line."""

from __future__ import annotations

import json

import pytest

from cluster.automation.pipeline_runner import PipelineRunner
from quantis.errors import Conflict, Forbidden, InvalidInput, NotFound
from quantis.types.jobs import JobState
from quantis.types.operations.pipelines import PipelineDefinition
from quantis.types.operations.schedules import PipelineTarget

BACKTEST = {"kind": "backtest", "dataset": "flights", "families": ["seasonal_naive"]}
STEPS = [
    {"name": "score", "job": BACKTEST},
    {
        "name": "again",
        "job": BACKTEST,
        "needs": ["score"],
        "if": 'steps.score.state == "succeeded"',
        "retries": 2,
    },
]
YAML = """
name: nightly
description: Every night.
steps:
  - name: score
    job: {kind: backtest, dataset: flights, families: [seasonal_naive]}
  - name: again
    needs: [score]
    if: facts.demand.live_wape > 0.2
    job: {kind: backtest, dataset: flights, families: [seasonal_naive]}
"""


def definition(*steps):
    return PipelineDefinition.model_validate({"steps": steps or STEPS})


def test_when_a_pipeline_is_applied_run_and_followed_then_each_answer_has_every_step(sdk_of, world):
    with sdk_of("ml_engineer") as sdk:
        applied = sdk.apply_pipeline("nightly", definition())
        assert (applied.version, applied.acts_for) == (1, "ml_engineer")
        assert applied.definition.steps[1].condition == 'steps.score.state == "succeeded"'
        assert sdk.apply_pipeline("nightly", definition()) == sdk.pipeline("nightly") == sdk.pipelines()[0]
        assert sdk.apply_pipeline("nightly", definition(STEPS[0])).version == 2
        assert [each.version for each in sdk.pipeline_versions("nightly")] == [2, 1]
        runs = [sdk.run_pipeline("nightly", idempotency_key="k") for _ in range(2)]
        assert runs[0] == runs[1]
        PipelineRunner(world.services).tick()
        run = sdk.pipeline_run("nightly", runs[0].id)
        (job,) = sdk.jobs()
        assert [(step.name, step.state, step.job_id) for step in run.steps] == [("score", "running", job.id)]
        with pytest.raises(Conflict, match="goes on"):
            sdk.delete_pipeline("nightly")
        world.services.jobs.finish("default", job.id, JobState.succeeded, "done")
        PipelineRunner(world.services).tick()
        assert [each.state for each in sdk.pipeline_runs("nightly")] == ["running"]  # the lease is another's


def test_when_a_run_is_stopped_then_its_jobs_are_asked_to_stop(sdk_of, world):
    with sdk_of("ml_engineer") as sdk:
        sdk.apply_pipeline("nightly", definition())
        run = sdk.run_pipeline("nightly")
        runner = PipelineRunner(world.services)
        runner.tick()
        sdk.stop_pipeline_run("nightly", run.id)
        runner.tick()
        stopped = sdk.pipeline_run("nightly", run.id)
        assert (stopped.state, [step.state for step in stopped.steps]) == ("stopped", ["stopped", "stopped"])
        assert [job.state for job in sdk.jobs()] == [JobState.stopped]
        sdk.delete_pipeline("nightly")
        with pytest.raises(NotFound, match="quantis pipelines ls"):
            sdk.pipeline("nightly")


@pytest.mark.parametrize(
    ("step", "error", "said"),
    [
        ({"name": "a", "job": BACKTEST | {"dataset": "flight"}}, NotFound, "flights"),
        ({"name": "a", "job": BACKTEST | {"families": ["oracle"]}}, InvalidInput, "oracle"),
        ({"name": "a", "job": BACKTEST, "if": "facts.demand > 3"}, InvalidInput, "no such value"),
        ({"name": "a", "job": {"kind": "compact", "dataset": "flights"}}, Forbidden, "compact job"),
        ({"name": "a", "job": {"kind": "forecast", "dataset": "flights", "model": "new"}}, NotFound, "new"),
    ],
)
def test_when_a_step_could_only_fail_then_the_pipeline_is_refused_and_nothing_is_stored(
    sdk_of, step, error, said
):
    with sdk_of("ml_engineer") as sdk:
        for call in (sdk.check_pipeline, sdk.apply_pipeline):
            with pytest.raises(error, match=said):
                call("nightly", definition(step))
        assert sdk.pipelines() == []


def test_when_an_earlier_step_makes_the_model_then_a_later_one_may_name_it(sdk_of):
    train = {"name": "train", "job": BACKTEST | {"kind": "train", "model": "new"}}
    forecast = {
        "name": "forecast",
        "needs": ["train"],
        "job": {"kind": "forecast", "dataset": "flights", "model": "new"},
    }
    with sdk_of("ml_engineer") as sdk:
        assert sdk.apply_pipeline("nightly", definition(train, forecast)).version == 1


def test_when_a_role_may_not_start_a_step_then_it_may_not_run_or_schedule_the_pipeline(sdk_of):
    compact = {"name": "a", "job": {"kind": "compact", "dataset": "flights"}}
    with sdk_of("admin") as admin, sdk_of("analyst") as analyst:
        admin.apply_pipeline("tidy", definition(compact))
        with pytest.raises(Forbidden, match="compact job"):
            analyst.run_pipeline("tidy")
        with pytest.raises(Forbidden, match="compact job"):
            analyst.create_schedule("tidy", "0 3 * * *", PipelineTarget(pipeline="tidy"))
        schedule = admin.create_schedule("tidy", "0 3 * * *", PipelineTarget(pipeline="tidy"))
        assert schedule.starts == PipelineTarget(pipeline="tidy")
        with pytest.raises(NotFound, match="no pipeline"):
            admin.create_schedule("other", "0 3 * * *", PipelineTarget(pipeline="other"))


def test_when_pipelines_are_used_from_the_command_line_then_the_difference_is_shown_before_it_is_applied(
    cli, tmp_path
):
    file = tmp_path / "nightly.yaml"
    file.write_text(YAML)
    assert cli("pipelines", "ls")[2].startswith("no pipeline")
    code, out, _ = cli("pipelines", "apply", str(file), "--dry-run", "--json")
    assert (code, json.loads(out)["changed"]) == (0, True)
    assert cli("pipelines", "ls", "--json")[1] == '{"items": []}\n'
    assert json.loads(cli("pipelines", "apply", str(file), "--yes", "--json")[1])["version"] == 1
    assert "nothing to apply" in cli("pipelines", "apply", str(file))[2]
    file.write_text(YAML.replace("0.2", "0.3"))
    _, out, _ = cli("pipelines", "apply", str(file), "--dry-run")
    changed = [line for line in out.splitlines() if line[0] in "+-" and line[:3] not in ("+++", "---")]
    assert changed == ["-  if: facts.demand.live_wape > 0.2", "+  if: facts.demand.live_wape > 0.3"]
    assert "version 2" in cli("pipelines", "apply", str(file), "--yes")[2]
    assert "if: facts.demand.live_wape > 0.3" in cli("pipelines", "show", "nightly")[1]
    run = json.loads(cli("pipelines", "run", "nightly", "--json")[1])
    assert run["id"] in cli("pipelines", "runs", "nightly")[1]
    assert "waiting" in cli("pipelines", "status", "nightly", run["id"])[1]
    assert cli("pipelines", "stop", "nightly", run["id"])[0] == 0
    assert cli("schedules", "create", "each-day", "0 6 * * *", "--pipeline", "nightly")[0] == 0
    assert "pipeline nightly" in cli("schedules", "ls")[1]
    assert cli("pipelines", "delete", "nightly", "--yes")[0] == 0
    assert cli("pipelines", "show", "nightly")[0] == 4
    file.write_text("steps: []\n")
    assert cli("pipelines", "apply", str(file))[0] == 2
