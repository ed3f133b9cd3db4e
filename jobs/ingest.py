"""`python -m jobs.ingest`: the files of a folder in the inbox become one version of a dataset, or none does.

A file is checked at a time per processor, in a process of its own; a panel is written at a time.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from itertools import islice

from jobs.ingestion.file_checks import Checked, check_files, files_in, frequency_of
from jobs.ingestion.overlaps import disagreements
from jobs.runtime import Context, run
from quantis.errors import RejectedPanel
from quantis.panel import Panel
from quantis.sandbox.client import load_checked_panel
from quantis.types.findings import Finding
from quantis.types.job_results import IngestResult
from quantis.types.job_specs import IngestSpec

_SHOWN = 20


def work(context: Context[IngestSpec]) -> IngestResult:
    """Check every file, then add all of them; a rejected one changes nothing."""
    spec, catalogue = context.spec, context.catalogue
    declared = catalogue.declared(context.team, spec.dataset)
    files = files_in(context.settings.data_layout.inbox(context.team), spec.folder)
    staged = context.folder / "staged"
    try:
        with context.step(f"check {len(files):,} files on Ray Data", 0.6):
            checked = check_files(files, staged, declared, spec.options)
            for one in checked:
                _tell(context, one)
            _must_agree(checked)
            freq = frequency_of(checked, declared.freq)
        with context.step("add them as one version", 1.0):

            def panels() -> Iterator[Panel]:
                return (load_checked_panel(one.folder) for one in checked)

            user = context.jobs.get(context.team, context.job_id).created_by
            created, version = catalogue.add_many(context.team, user, spec.dataset, panels, freq)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return IngestResult(
        files=len(files),
        created=created,
        version=version.number,
        rows=version.rows,
        series=version.series,
        freq=version.freq,
        warnings=sum(one.report.outcome == "accept_with_warning" for one in checked if one.report),
    )


def _tell(context: Context[IngestSpec], one: Checked) -> None:
    if one.report is None:
        context.tell(f"{one.file}: {one.error}")
        return
    findings = [finding.model_dump(mode="json") for finding in one.report.findings[:_SHOWN]]
    context.tell(
        f"{one.file}: {one.report.outcome}; {one.report.rows:,} rows, {one.report.series:,} series",
        file=one.file,
        findings=findings,
    )


def _must_agree(checked: Sequence[Checked]) -> None:
    """RejectedPanel unless every file is accepted and no two of them contradict each other."""
    wrong = [one for one in checked if not one.accepted]
    if wrong:
        findings = [finding for one in wrong if one.report for finding in one.report.findings]
        said = "; ".join(f"{one.file}: {_first(one)}" for one in wrong[:5])
        raise RejectedPanel(
            f"{len(wrong):,} of {len(checked):,} files were rejected and nothing was stored ({said})",
            findings[:_SHOWN],
        )
    conflicts = list(islice(disagreements(checked), _SHOWN))
    if conflicts:
        raise RejectedPanel(
            f"files contradict each other and nothing was stored ({'; '.join(conflicts[:5])});"
            " keep the row that is right, or give known_at",
            [],
        )


def _first(one: Checked) -> str:
    found: list[Finding] = one.report.findings if one.report else []
    return f"{found[0].code} {found[0].message}" if found else one.error or ""


if __name__ == "__main__":
    sys.exit(run(IngestSpec, work))
