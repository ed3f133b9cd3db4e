"""One training job on a Ray of its own: what fails or overruns is named, the rest goes on, somebody serves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import select

from cluster.backend import Backend
from cluster.database.engine import Database
from cluster.database.tables import ForecastRow
from cluster.repositories.jobs import Jobs
from cluster.settings import Settings
from jobs.runtime import Context
from quantis.errors import InvalidInput
from quantis.types.datasets import DatasetSpec, Roles
from quantis.types.job_specs import BacktestSpec, ForecastSpec, TrainSpec, WorkSpec
from quantis.types.registry import Dimension
from tests.jobs.shop_panel import HOURS, TEAM, shop, stored

OWN = ",".join(f"{name}=tests.jobs.odd_families:{name.title()}" for name in ("endless", "picky", "broken"))

LEARNED_UNTIL = datetime(2024, 1, 28, 11, tzinfo=UTC)
"""As-of of the model `demand`: twelve hours before the end."""


def shops() -> pa.Table:
    """Eight shops of two regions; one began only lately."""
    rng = np.random.default_rng(3)
    found = [shop(number, rng, begins=0 if number else HOURS - 30) for number in range(8)]
    regions = ["north" if number % 2 else "south" for number in range(8)]
    return pa.concat_tables(
        pa.table(columns | {"region": [region] * len(columns["unique_id"])})
        for columns, region in zip(found, regions, strict=True)
    )


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUANTIS_DATA_DIR", str(tmp_path_factory.mktemp("train") / "data"))
        patch.setenv("QUANTIS_MODEL_MODULES", OWN)
        roles = Roles(futr_exog=("promo",), stat_exog=("region",), categorical=("region",))
        yield stored(DatasetSpec(name="shops", freq="h", roles=roles), shops())


def context_for(settings: Settings, spec: WorkSpec) -> Context[Any]:
    database = Database(settings.sql_url)
    jobs = Jobs(database)
    job = jobs.adopt(TEAM, "ann", spec, None)  # type: ignore[arg-type]
    return Context(Backend(settings, database), TEAM, job.id, spec)


def spec_of(families: list[str], **more: Any) -> dict[str, Any]:
    return {
        "dataset": "shops", "h": 12, "families": families, "quantiles": (0.1, 0.5, 0.9), "n_windows": 2,
        "as_of": datetime(2024, 1, 29, tzinfo=UTC), **more,
    }  # fmt: skip


@pytest.mark.ray
def test_when_families_fail_and_overrun_then_the_rest_is_judged_and_the_best_serves(
    settings: Settings, on_ray: None
) -> None:
    from jobs.train import work

    families = ["boosting", "endless", "picky", "broken"]
    spec = TrainSpec.model_validate(spec_of(families, model="demand", time_limit="PT3M", as_of=LEARNED_UNTIL))
    context = context_for(settings, spec)
    result = work(context).model_dump(mode="json")
    rows = {row["model"]: row for row in result["leaderboard"]["rows"]}
    assert set(rows) == {"seasonal_naive_24", "seasonal_naive_168", *families}
    assert "timed out after" in rows["endless"]["failed"]
    assert "no series could be forecast" in rows["broken"]["failed"]
    assert (rows["picky"]["failed"], rows["picky"]["fallbacks"]) == (None, 1)
    assert rows["boosting"]["failed"] is None
    assert rows["boosting"]["skill"] > 0.3
    assert (rows["boosting"]["verdict"], rows["boosting"]["chosen"]) == ("better", True)
    assert rows["boosting"]["size_bytes"] > rows["seasonal_naive_24"]["size_bytes"] > 0
    assert result["gate"]["p_value"] < 0.05
    assert "; not compared: endless (timed out after" in result["gate"]["reason"]
    champion = context.registry.resolve("demand@champion")
    assert (champion.family, champion.version) == ("boosting", result["model"]["version"])
    assert champion.as_of == spec.as_of
    assert champion.lineage is not None
    assert champion.lineage.environment_hash is not None
    said = [event.message for event in context.backend.jobs.events(TEAM, context.job_id)]
    assert any("picky" in line and "1 series fell back to a simpler method" in line for line in said), said


@pytest.mark.ray
def test_when_levels_and_fewer_steps_are_named_then_a_batch_forecast_keeps_what_adds_up(
    settings: Settings, on_ray: None
) -> None:
    from jobs.forecast import work

    asked: dict[str, Any] = {
        "dataset": "shops", "model": "demand", "score": True, "origins": 2, "hierarchy": (("region",),)
    }  # fmt: skip
    context = context_for(settings, ForecastSpec(**asked, h=6))  # of the model's 12
    found = work(context).model_dump(mode="json")
    first, second = (datetime.fromisoformat(origin) for origin in found["origins"])
    assert (found["h"], second - first) == (6, timedelta(hours=6))
    assert found["reconciliation"] == "mint_shrink"
    assert found["methods"] == {
        "model": 2 * (7 + 3),
        "seasonal_naive": 1,
        "last_value": 1,
    }  # of the young shop
    assert found["scores"]["demand"]["mase"] < found["scores"]["seasonal_naive_24"]["mase"]
    assert found["learned_origins"] == 0
    with context.backend.database.read() as session:
        ids = session.scalars(select(ForecastRow.id).order_by(ForecastRow.issued_at)).all()
        assert set(session.scalars(select(ForecastRow.kind))) == {"batch"}
    kept = [context.backend.vintages.get(TEAM, forecast_id) for forecast_id in ids]
    assert len(kept) == 2
    for vintage in kept:
        mean = {entry.unique_id: np.array(entry.mean) for entry in vintage.forecasts}
        assert {len(entry.ds) for entry in vintage.forecasts} == {6}
        shops = [name for name in mean if name.startswith("shop")]
        north = sum(mean[name] for name in shops if int(name[-1]) % 2)
        assert np.abs(sum(mean[name] for name in shops) - mean["total"]).max() < 1e-6
        assert np.abs(north - mean["region=north"]).max() < 1e-6
    file = context.backend.batch_forecasts.open(TEAM, context.job_id).read()
    assert file.num_rows == sum(len(entry.ds) for vintage in kept for entry in vintage.forecasts)
    assert set(file["forecast_id"].to_pylist()) == set(ids)
    earlier = context_for(settings, ForecastSpec(**asked, h=6, as_of=LEARNED_UNTIL + timedelta(hours=6)))
    half = work(earlier).model_dump(mode="json")  # one origin before the model's as-of, one at it
    assert (half["learned_origins"], len(half["origins"])) == (1, 2)
    assert set(half["scores"]) == {"demand", "seasonal_naive_24", "seasonal_naive_168"}
    learned = context_for(settings, ForecastSpec(**asked, h=6, as_of=LEARNED_UNTIL))
    inside = work(learned).model_dump(mode="json")
    assert (inside["learned_origins"], inside["scores"]) == (2, {})
    said = [event.message for event in learned.backend.jobs.events(TEAM, learned.job_id)]
    assert any("2 of 2 origins are not scored: demand:1 learned from the days" in line for line in said), said
    with pytest.raises(InvalidInput, match="h 13 is more than the model's horizon 12"):
        work(context_for(settings, ForecastSpec(**asked, h=13)))


@pytest.mark.ray
def test_when_no_family_beats_naive_then_the_best_seasonal_naive_is_published_and_serves(
    settings: Settings, on_ray: None
) -> None:
    from jobs.train import work
    from models.registry.bundle import read_bundle

    context = context_for(settings, TrainSpec.model_validate(spec_of(["picky"], model="plain")))
    result = work(context).model_dump(mode="json")
    champion = context.registry.resolve("plain@champion")
    assert champion.family == "seasonal_naive"
    assert (result["gate"]["passed"], result["gate"]["beats_naive"]) == (True, False)
    assert "no model is better than seasonal_naive_24, which is the champion" in result["gate"]["reason"]
    assert read_bundle(context.registry.download(champion)).family == "seasonal_naive"


@pytest.mark.ray
def test_when_a_panel_is_backtested_then_every_cut_is_kept_and_a_model_is_judged_as_it_was_made(
    settings: Settings, on_ray: None
) -> None:
    import pyarrow.parquet as pq

    from cluster.repositories.backtests import FORECASTS, Backtests
    from jobs.backtest import work

    spec = spec_of(["picky", "boosting"], segments=("region", "promo"), backtest_mode="vintage", refit=True)
    context = context_for(settings, BacktestSpec.model_validate(spec))
    found = work(context).backtest
    assert (found.mode, found.refit, found.h, len(found.cutoffs)) == ("vintage", True, 12, 2)
    assert {one.unique_id for one in found.fallbacks if one.model == "picky"} == {"shop03"}
    assert found.dimensions == ["series", "step", "window", "segment"]
    kept = Backtests(settings.data_layout)

    def labels(dimension: Dimension) -> list[str]:
        page = kept.page(TEAM, context.job_id, dimension, model="boosting", cursor=None, limit=500)
        whole = next(row for row in found.overall if row.model == "boosting")
        if dimension != "segment":
            assert sum(row.rows for row in page.items) == whole.rows
        return [row.label for row in page.items]

    assert labels("series") == [f"shop{number:02}" for number in range(8)]
    assert labels("step") == [str(step) for step in range(1, 13)]
    assert labels("window") == [f"{cutoff:%Y-%m-%dT%H:%M:%SZ}" for cutoff in sorted(found.cutoffs)]
    assert labels("segment") == ["region = north", "region = south", "promo = 0", "promo = 1"]
    forecasts = pq.read_table(settings.data_layout.backtest(TEAM, context.job_id) / f"{FORECASTS}.parquet")
    assert forecasts.num_rows == 4 * 2 * 8 * 12  # members x windows x series x steps
    assert {"model", "cutoff", "y", "mean", "q0.9"} <= set(forecasts.column_names)


@pytest.mark.ray
def test_when_levels_are_named_then_the_forecasts_of_a_backtest_add_up(
    settings: Settings, on_ray: None
) -> None:
    import pyarrow.parquet as pq

    from cluster.repositories.backtests import FORECASTS
    from jobs.backtest import work

    spec = spec_of(["statistical"], hierarchy=(("region",),))
    context = context_for(settings, BacktestSpec.model_validate(spec))
    found = work(context).backtest
    assert found.reconciliation == "mint_shrink"
    frame = pq.read_table(
        settings.data_layout.backtest(TEAM, context.job_id) / f"{FORECASTS}.parquet"
    ).to_pandas()
    frame = frame[frame.model == "statistical"].pivot(
        index=["cutoff", "ds"], columns="unique_id", values="mean"
    )
    shops = [name for name in frame if name.startswith("shop")]
    odd = [name for name in shops if int(name[-1]) % 2]
    assert (frame[shops].sum(axis=1) - frame["total"]).abs().max() < 1e-6
    assert (frame[odd].sum(axis=1) - frame["region=north"]).abs().max() < 1e-6


@pytest.mark.ray
def test_when_a_family_or_column_is_unknown_then_the_job_says_which_there_are(
    settings: Settings, on_ray: None
) -> None:
    from jobs.backtest import work

    with pytest.raises(
        InvalidInput, match=r"'prophet' is not known here; choose among boosting, .*broken, endless"
    ):
        work(context_for(settings, BacktestSpec.model_validate(spec_of(["prophet"]))))
    with pytest.raises(
        InvalidInput, match="'city' is no column of the dataset to cut by; it has region, promo"
    ):
        work(context_for(settings, BacktestSpec.model_validate(spec_of(["boosting"], segments=("city",)))))


@pytest.mark.ray
def test_when_a_later_training_is_worse_then_the_champion_stays_and_the_reason_is_in_figures(
    settings: Settings, on_ray: None
) -> None:
    from jobs.train import work

    def trained(families: list[str], day: int, **more: Any) -> tuple[dict[str, Any], int]:
        spec = spec_of(families, model="heads", as_of=datetime(2024, 1, day, tzinfo=UTC), **more)
        context = context_for(settings, TrainSpec.model_validate(spec))
        result = work(context).model_dump(mode="json")
        return result, context.registry.resolve("heads@champion").version

    first, champion = trained(["boosting"], 22)
    assert (first["model"]["family"], champion, first["gate"].get("head_to_head")) == ("boosting", 1, None)
    worse, champion = trained(["seasonal_naive"], 29)
    assert (champion, worse["model"]["aliases"]) == (1, ["candidate"])
    gate, row = worse["gate"], worse["gate"]["head_to_head"]
    assert (gate["passed"], gate["replaces"]) == (True, False)
    assert gate["reason"].startswith(
        f"v2 stays candidate: v2 has {row['ratio']:.1f} times the error of v1 (MASE "
    )
    assert (row["challenger"], row["incumbent"], row["verdict"]) == (2, 1, "not better")
    assert (row["windows"], row["in_sample"]) == (2, False)
    assert row["ratio"] == pytest.approx(row["challenger_mase"] / row["incumbent_mase"])
    assert row["ratio"] > 2
    other, champion = trained(["seasonal_naive"], 29, h=6)
    assert champion == 1
    assert "v1 could not be compared: it has h 12, this training has h 6" in other["gate"]["reason"]


@pytest.mark.ray
def test_when_a_later_training_is_as_good_then_it_replaces_the_champion_and_the_reason_has_the_figures(
    settings: Settings, on_ray: None
) -> None:
    from jobs.train import work

    for day in (22, 29):
        spec = spec_of(["seasonal_naive"], model="fresh", as_of=datetime(2024, 1, day, tzinfo=UTC))
        result = work(context_for(settings, TrainSpec.model_validate(spec))).model_dump(mode="json")
    gate = result["gate"]
    assert (gate["replaces"], gate["head_to_head"]["verdict"]) == (True, "not worse")
    assert gate["head_to_head"]["ratio"] <= 1.05
    assert result["model"]["aliases"] == ["candidate", "champion"]
    assert re.search(r"v2 has [01]\.\d+ times the error of v1 \(MASE ", gate["reason"])
