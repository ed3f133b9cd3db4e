from __future__ import annotations

import time
import zlib
from datetime import UTC, datetime

import pytest

from models.evaluation.promotion_gate import GateDecision
from models.families.naive import SeasonalNaive
from models.registry.bundle import read_bundle, write_bundle
from models.registry.mlflow_registry import Registry
from quantis.errors import Conflict, InvalidInput, NotFound
from quantis.types.registry import HeadToHead, Leaderboard, LeaderboardRow

YES = GateDecision("Naive24", True, 0.5, 0.1, 1.0, 0.3, "Naive24: beats the floor")
NO = GateDecision("Naive24", False, 1.0, 0.3, 1.0, 0.3, "Naive24: no model beats the floor")


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def registry(database, tmp_path, request):
    """A team of its own for each test; the database, slow to make, is shared."""
    return Registry(database, str(tmp_path / "artifacts"), f"team-{zlib.crc32(request.node.name.encode())}")


@pytest.fixture
def bundle(make_task, make_snapshot, tmp_path):
    task = make_task()
    snapshot, _ = make_snapshot(task, {"a": 60})
    return write_bundle(tmp_path / "made", SeasonalNaive.fit(snapshot, task, 24), snapshot)


def _publish(registry, bundle, gate=YES, model="demand"):
    return registry.publish(model, bundle, metrics={"mase": 0.5, "wql": None}, gate=gate, experiment="job-1")


def test_when_a_bundle_is_published_then_it_is_the_candidate_and_can_be_loaded_again(
    registry, bundle, make_task
):
    version = _publish(registry, bundle)
    assert (version.model, version.version, version.aliases) == ("demand", 1, ["candidate"])
    assert (version.family, version.h, version.freq) == ("seasonal_naive", 24, "h")
    assert (version.dataset, version.dataset_version, version.content_hash) == ("toy", 1, "0" * 64)
    assert version.metrics == {"mase": 0.5}
    assert version.gate["passed"] is True
    assert version.experiment == "job-1"
    folder = registry.download(version)
    assert folder != bundle
    assert read_bundle(folder).task == make_task()


def test_when_versions_are_named_in_any_form_then_each_is_found(registry, bundle):
    first, second = _publish(registry, bundle), _publish(registry, bundle)
    registry.promote("demand", 1)
    assert registry.resolve("demand").version == first.version
    assert registry.resolve("demand@champion").version == 1
    assert registry.resolve("demand@candidate").version == second.version
    assert registry.resolve("demand:2").version == 2
    assert [v.version for v in registry.versions("demand")] == [2, 1]
    assert [v.aliases for v in registry.versions("demand")] == [["candidate"], ["champion"]]
    assert registry.resolve("demand") == registry.versions("demand")[1]
    (model,) = registry.models()
    assert (model.name, model.champion, model.latest, model.versions) == ("demand", 1, 2, 2)


def test_when_a_version_lost_against_the_champion_then_its_gate_names_both_and_a_person_may_promote_it(
    registry, bundle
):
    assert registry.champion("demand") is None
    _publish(registry, bundle)
    registry.promote("demand", 1)
    row = HeadToHead(
        incumbent=1,
        incumbent_family="boosting",
        ratio=2.4,
        verdict="worse",
        reason="this version has 2.4 times the error of v1",
    )
    version = _publish(registry, bundle, YES.against_incumbent(row, replaces=False))
    assert version.gate["reason"].startswith("v2 stays candidate: v2 has 2.4 times the error of v1; ")
    assert version.gate["head_to_head"]["challenger"] == 2
    assert registry.versions("demand")[0].gate == version.gate
    assert registry.champion("demand").version == 1
    assert registry.promote("demand", 2).aliases == ["candidate", "champion"]


def test_when_the_gate_said_no_then_the_version_cannot_become_champion_but_may_challenge(registry, bundle):
    _publish(registry, bundle, gate=NO)
    with pytest.raises(Conflict, match="demand:1 did not pass the gate"):
        registry.promote("demand", 1)
    with pytest.raises(NotFound):
        registry.resolve("demand@champion")
    assert registry.promote("demand", 1, "challenger").aliases == ["candidate", "challenger"]


def test_when_a_champion_is_replaced_then_the_alias_moves_and_the_old_version_stays(registry, bundle):
    _publish(registry, bundle), _publish(registry, bundle)
    registry.promote("demand", 1)
    registry.promote("demand", 2)
    assert registry.resolve("demand").version == 2
    assert registry.get("demand", 1).aliases == []


@pytest.mark.parametrize(
    "reference",
    [
        "nothing",
        "demand",
        "demand@nope",
        "demand:9",
        "demand:",
        "Demand",
        "a/b",
        "demand@v1",
        "",
        "demand:0x1",
    ],
)
def test_when_a_reference_leads_nowhere_then_it_is_not_found(registry, bundle, reference):
    _publish(registry, bundle)
    with pytest.raises(NotFound):
        registry.resolve(reference)


@pytest.mark.parametrize("alias", ["v1", "latest", "7", "Champion", "a b", ""])
def test_when_an_alias_could_be_taken_for_a_version_then_it_is_refused(registry, bundle, alias):
    _publish(registry, bundle)
    with pytest.raises(InvalidInput, match="is not a name such as champion"):
        registry.promote("demand", 1, alias)


def test_when_another_team_looks_then_it_sees_nothing(registry, bundle, database, tmp_path):
    _publish(registry, bundle)
    # The underscore of this name matches the hyphen in a LIKE pattern.
    other = Registry(database, str(tmp_path), registry.team.replace("-", "_"))
    assert other.models() == []
    with pytest.raises(NotFound):
        other.versions("demand")
    with pytest.raises(NotFound):
        other.promote("demand", 1)


def test_when_replicas_poll_an_alias_then_a_look_up_takes_under_20_ms_of_a_processor(registry, bundle):
    _publish(registry, bundle)
    seconds = []
    for _ in range(20):
        start = time.process_time()
        registry.resolve("demand@candidate")
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.020


def test_when_a_leaderboard_is_logged_then_every_row_is_a_run_below_it(registry):
    figures = {"mase": 0.5, "wql": 0.1, "wape": 0.2, "coverage_80": 0.8, "skill": 0.5}
    tft = {"rank": 1, "model": "TFT", "family": "tft", "seconds": 9}
    failed = {"rank": 2, "model": "Bad", "family": "boosting", "seconds": 1, "failed": "no memory"}
    rows = [
        LeaderboardRow.model_validate(tft | figures),
        LeaderboardRow.model_validate(failed | dict.fromkeys(figures)),
    ]
    cutoffs = [datetime(2020, 1, 1, tzinfo=UTC)]
    board = Leaderboard(
        experiment="job-1", model="demand", dataset="toy", dataset_version=1, cutoffs=cutoffs, h=24, rows=rows
    )
    parent = registry.log_leaderboard(board, {"n_windows": 2})
    client = registry._client
    experiment = client.get_experiment_by_name(f"{registry.team}.demand").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert set(runs) == {"leaderboard job-1", "TFT", "Bad"}
    assert runs["TFT"].data.metrics["mase"] == 0.5
    assert runs["Bad"].data.tags["quantis.failed"] == "no memory"
    assert {runs[name].data.tags["mlflow.parentRunId"] for name in ("TFT", "Bad")} == {parent}
    assert runs["leaderboard job-1"].data.params["n_windows"] == "2"
    assert all(run.info.status == "FINISHED" for run in runs.values())
