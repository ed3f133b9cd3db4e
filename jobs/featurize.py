"""`python -m jobs.featurize`: the design frame of a dataset version, on Ray Data, as Parquet."""

from __future__ import annotations

import shutil
import sys

import pyarrow.parquet as pq

from cluster.ray.session import declared_memory
from features.design.design_frame import default_spec, learn_categories
from features.ray_data import design_blocks
from jobs.runtime import Context, run
from quantis.types.job_results import FeaturizeResult
from quantis.types.job_specs import DEFAULT_QUANTILES, FeaturizeSpec

BLOCKS = 4


def work(context: Context[FeaturizeSpec]) -> FeaturizeResult:
    """Build the features as of a time and write them to the team's folder."""
    reporter = context.reporter
    with reporter.step("read the panel", 0.2):
        task = context.dataset.task(context.spec.h, DEFAULT_QUANTILES)
        snapshot = context.dataset.latest_snapshot(task)
        spec = learn_categories(default_spec(task), task, snapshot)
    with reporter.step("features on Ray Data", 0.9):
        frame = design_blocks(snapshot, task, spec, blocks=BLOCKS, memory=declared_memory(1) or None)
    with reporter.step("write", 1.0):
        folder = context.backend.data_layout.features(context.team, context.spec.dataset)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"v{task.version}-{context.job_id}.parquet"
        temporary = path.with_suffix(".partial")
        pq.write_table(frame, temporary)
        shutil.move(temporary, path)
    return FeaturizeResult(
        rows=frame.num_rows,
        columns=frame.column_names,
        path=str(path.relative_to(context.backend.data_layout.root)),
        spec=spec.model_dump(mode="json"),
    )


if __name__ == "__main__":
    sys.exit(run(FeaturizeSpec, work))
