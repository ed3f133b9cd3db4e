"""Known-future covariates that matter are used: without them the score on real data is worse."""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from models.evaluation.metrics import evaluate
from models.evaluation.rolling_origin import backtest
from models.families.boosting.model import Boosting
from quantis.panel import DS, ID, Panel, Task, Y

pytestmark = pytest.mark.skipif(
    not os.environ.get("QUANTIS_BENCH_DATA"), reason="QUANTIS_BENCH_DATA is unset: no real data here"
)
SERIES = 12


def _without(task: Task, *columns: str) -> Task:
    left = tuple(name for name in task.roles.futr_exog if name not in columns)
    roles = task.roles.model_dump() | {
        "futr_exog": left,
        "categorical": tuple(name for name in task.roles.categorical if name not in columns),
    }
    return task.model_copy(update={"roles": type(task.roles).model_validate(roles)})


@pytest.mark.parametrize(
    ("name", "columns"), [("rossmann_a", ("promo",)), ("epf", ("Exogenous1", "Exogenous2"))]
)
def test_when_a_covariate_that_matters_is_taken_away_then_the_forecast_gets_worse(name, columns, monkeypatch):
    from bench.accuracy_sets import SETS
    from features.store.snapshots import snapshot_at

    monkeypatch.setattr("models.families.boosting.training.MAX_SAMPLES", 40_000)
    trial = SETS[name]()
    few = pc.unique(trial.panel.target[ID]).slice(0, SERIES)

    def only(table: pa.Table) -> pa.Table:
        return table.filter(pc.is_in(table[ID], value_set=few))

    panel = Panel(only(trial.panel.target), only(trial.panel.future), only(trial.panel.static))

    def wape(task: Task) -> float:
        table = backtest(
            lambda snapshot: Boosting.fit(snapshot, task),
            lambda cutoff: snapshot_at(panel, cutoff, task),
            panel.target.select([ID, DS, Y]),
            trial.tests,
        )
        found = evaluate(table, panel.target, task.season_lengths[0]).metrics["wape"]
        assert found is not None
        return found

    task = trial.task.model_copy(update={"quantiles": (0.5,)})
    assert wape(_without(task, *columns)) > 1.1 * wape(task)
