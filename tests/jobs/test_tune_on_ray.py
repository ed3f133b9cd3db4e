"""A search makes the version that its help promises: its best setting, trained and published through the gate."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from cluster.backend import Backend
from cluster.database.engine import Database
from cluster.settings import Settings
from jobs.runtime import Context
from models.registry.bundle import read_bundle
from quantis.types.datasets import DatasetSpec, Roles
from quantis.types.job_specs import TftParams, TuneSpec
from tests.jobs.shop_panel import TEAM, shop, stored


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A platform with six shops, named in the environment before Ray starts: its workers read that, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUANTIS_DATA_DIR", str(tmp_path_factory.mktemp("tune") / "data"))
        rng = np.random.default_rng(5)
        shops = pa.concat_tables(pa.table(shop(number, rng)) for number in range(6))
        yield stored(DatasetSpec(name="shops", freq="h", roles=Roles(futr_exog=("promo",))), shops)


@pytest.mark.ray
def test_when_a_search_ends_then_its_best_setting_is_a_candidate_and_champion_only_by_the_gate(
    settings: Settings, on_ray: None
) -> None:
    from jobs.tune import work

    tft = TftParams(hidden_size=8, attention_heads=2, encoder_length=24, steps=20, workers=1)
    spec = TuneSpec(
        dataset="shops", model="tuned", h=12, quantiles=(0.1, 0.5, 0.9), trials=1, tft=tft,
        as_of=datetime(2024, 1, 29, tzinfo=UTC),
    )  # fmt: skip
    backend = Backend(settings, Database(settings.sql_url))
    job = backend.jobs.adopt(TEAM, "ann", spec, None)
    result = work(Context(backend, TEAM, job.id, spec))
    assert result.model is not None
    assert result.gate is not None
    assert result.leaderboard is not None
    registry = backend.registry(TEAM)
    (version,) = registry.versions("tuned")
    assert (version.version, version.family, version.as_of) == (1, "tft", spec.as_of)
    assert (version.experiment, result.model.version) == (job.id, 1)
    assert "candidate" in version.aliases
    assert result.gate.chosen == "tft"
    assert ("champion" in version.aliases) == bool(result.gate.replaces) == result.gate.passed
    assert [row.model for row in result.leaderboard.rows if row.chosen] == ["tft"]
    assert {row.family for row in result.leaderboard.rows} == {"tft", "seasonal_naive"}
    params = read_bundle(registry.download(version), backend.families).parts().config["params"]
    assert TftParams.model_validate(params) == result.best
