from __future__ import annotations

import json

import numpy as np
import pytest

from models.families.tft.checkpoint import CheckpointFolder, TrainingState, fingerprint
from models.families.tft.training import Checkpointer, fit
from quantis.types.job_specs import TftParams

PARAMS = TftParams(hidden_size=8, attention_heads=2, dropout=0.1, encoder_length=48, batch_size=16, steps=30)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def case(one_thread, make_task, make_snapshot, tmp_path_factory):
    """A training whose states of steps 10, 20 and 30 lie in folders of their own."""
    task = make_task(h=6, quantiles=(0.1, 0.5, 0.9), season_lengths=(24,))
    snapshot, _ = make_snapshot(task, {"a": 150, "b": 120})
    folder, reported = tmp_path_factory.mktemp("states"), []
    states = CheckpointFolder(folder)
    states_saved: list[TrainingState] = []

    def save(state: TrainingState) -> None:
        states_saved.append(state)
        states.save(state)

    checkpointer = Checkpointer(lambda: None, save, 10)
    model = fit(snapshot, task, PARAMS, progress=lambda *at: reported.append(at), checkpointer=checkpointer)
    return task, snapshot, model, reported, states_saved


def _again(case, folder):
    task, snapshot, *_ = case
    reported: list[tuple[int, float]] = []
    states_saved: list[TrainingState] = []
    checkpointer = Checkpointer(CheckpointFolder(folder).latest, states_saved.append, 10)
    model = fit(snapshot, task, PARAMS, progress=lambda *at: reported.append(at), checkpointer=checkpointer)
    return model, reported, states_saved


def _same(first, second) -> bool:
    one, two = first.parts().tensors, second.parts().tensors
    return all(np.array_equal(values, two[name]) for name, values in one.items())


@pytest.mark.parametrize("place", [0, 1])
def test_when_training_goes_on_from_a_state_then_every_bit_is_that_of_the_undisturbed_run(
    case, tmp_path, place
):
    _, _, whole, reported, states_saved = case
    CheckpointFolder(tmp_path).save(states_saved[place])
    model, rest, states = _again(case, tmp_path)
    assert _same(model, whole)
    assert rest == [at for at in reported if at[0] > states_saved[place].step]
    assert states[-1].visited == states_saved[-1].visited
    assert len({state.visited for state in states_saved}) == 3


@pytest.mark.parametrize(
    "damage", ["cut", "changed", "no manifest", "no state", "manifest cut", "unfinished"]
)
def test_when_the_newest_state_is_torn_then_the_last_good_one_is_taken(case, tmp_path, damage):
    _, _, whole, _, states_saved = case
    states = CheckpointFolder(tmp_path)
    states.save(states_saved[0])
    newest = states.save(states_saved[1])
    data, manifest = newest / "state.safetensors", newest / "manifest.json"
    if damage == "cut":
        data.write_bytes(data.read_bytes()[:-100])
    elif damage == "changed":
        raw = bytearray(data.read_bytes())
        raw[-1] ^= 1
        data.write_bytes(raw)
    elif damage == "manifest cut":
        manifest.write_bytes(manifest.read_bytes()[:-5])
    elif damage == "unfinished":
        newest.rename(tmp_path / ".unfinished-x")
    else:
        (manifest if damage == "no manifest" else data).unlink()
    state = states.latest()
    assert state is not None
    assert state.step == 10
    assert _same(_again(case, tmp_path)[0], whole)


def test_when_all_states_are_torn_then_training_begins_anew(case, tmp_path):
    newest = CheckpointFolder(tmp_path).save(case[4][0])
    (newest / "manifest.json").write_text(json.dumps({"step": 10}))
    assert CheckpointFolder(tmp_path).latest() is None
    assert _same(_again(case, tmp_path)[0], case[2])


def test_when_states_are_kept_then_few_stay_and_nothing_unfinished(case, tmp_path):
    states = CheckpointFolder(tmp_path)
    (tmp_path / ".unfinished-killed").mkdir()
    for state in case[4]:
        states.save(state)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000020", "step-000000030"]


def test_when_data_or_parameters_differ_then_a_training_has_another_name(case, make_snapshot):
    task, snapshot, *_ = case
    other, _ = make_snapshot(task, {"a": 150, "b": 120}, seed=1)
    names = {
        fingerprint(snapshot, task, PARAMS),
        fingerprint(other, task, PARAMS),
        fingerprint(snapshot, task, PARAMS.model_copy(update={"seed": 8})),
        fingerprint(snapshot, task, PARAMS, "parent"),
    }
    assert len(names) == 4
    later = task.model_copy(update={"as_of": task.as_of.replace(year=2020)})
    assert fingerprint(snapshot, later, PARAMS) in names
