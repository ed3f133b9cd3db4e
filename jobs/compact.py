"""`python -m jobs.compact`: few sorted files instead of many, and the purge of what was deleted long ago."""

from __future__ import annotations

import sys
from dataclasses import asdict

from cluster.datasets.compaction import compact
from jobs.runtime import Context, run
from quantis.types.job_results import CompactResult
from quantis.types.job_specs import CompactSpec


def work(context: Context[CompactSpec]) -> CompactResult:
    """Rewrite the tables of a dataset; every version reads the same afterwards, less the purged series."""
    spec, backend, reporter = context.spec, context.backend, context.reporter
    with reporter.step("compact the tables", 1.0):
        compaction = compact(
            backend.catalogue,
            backend.data_layout,
            context.team,
            spec.dataset,
            retention=spec.retention,
            purge_after=spec.purge_after,
        )
    reporter.event(
        f"{compaction.files_before} files became {compaction.files_after}, {compaction.removed} old ones were removed, "
        f"{compaction.purged} series were purged"
    )
    return CompactResult(**asdict(compaction))


if __name__ == "__main__":
    sys.exit(run(CompactSpec, work))
