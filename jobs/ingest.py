"""`python -m jobs.ingest`: the files of a folder in the inbox become one version of a dataset, or none does.

Each processor checks one file at a time, in a process of its own; one panel is written at a time.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from itertools import islice

from jobs.ingestion.file_checks import CheckedFile, check_files, common_frequency, files_in
from jobs.ingestion.overlaps import disagreements
from jobs.reporter import JobReporter
from jobs.runtime import Context, run
from quantis.errors import RejectedPanel
from quantis.panel import Panel
from quantis.sandbox.client import load_checked_panel
from quantis.types.findings import Finding
from quantis.types.job_results import IngestResult
from quantis.types.job_specs import IngestSpec

_FINDINGS = 20  # reported in full


def work(context: Context[IngestSpec]) -> IngestResult:
    """Check every file, then add all of them; a rejected one changes nothing."""
    spec, reporter, catalogue = context.spec, context.reporter, context.backend.catalogue
    declared = catalogue.declared_spec(context.team, spec.dataset)
    files = files_in(context.backend.data_layout.inbox(context.team), spec.folder)
    staged = context.folder / "staged"
    try:
        with reporter.step(f"check {len(files):,} files on Ray Data", 0.6):
            checked = check_files(files, staged, declared, spec.options)
            for file in checked:
                _report_check(reporter, file)
            _require_accepted(checked)
            freq = common_frequency(checked, declared.freq)
        with reporter.step("add them as one version", 1.0):

            def panels() -> Iterator[tuple[str, Panel]]:
                return ((file.file, load_checked_panel(file.folder)) for file in checked)

            created, version = catalogue.add_many(context.team, context.user, spec.dataset, panels, freq)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    reports = [file.report for file in checked if file.report]
    return IngestResult(
        files=len(files),
        created=created,
        version=version.number,
        rows=version.rows,
        series=version.series,
        freq=version.freq,
        warnings=sum(report.outcome == "accept_with_warning" for report in reports),
    )


def _report_check(reporter: JobReporter, checked: CheckedFile) -> None:
    report = checked.report
    if report is None:
        reporter.event(f"{checked.file}: {checked.error}")
        return
    findings = [finding.model_dump(mode="json") for finding in report.findings[:_FINDINGS]]
    reporter.event(
        f"{checked.file}: {report.outcome}; {report.rows:,} rows, {report.series:,} series",
        file=checked.file,
        findings=findings,
    )


def _require_accepted(checked: Sequence[CheckedFile]) -> None:
    """Raise RejectedPanel unless every file is accepted and no two of them contradict each other."""
    rejected = [file for file in checked if not file.accepted]
    if rejected:
        findings: list[Finding] = []
        for file in rejected:
            findings += file.report.findings if file.report else []
        reasons = "; ".join(f"{file.file}: {_first_reason(file)}" for file in rejected[:5])
        raise RejectedPanel(
            f"{len(rejected):,} of {len(checked):,} files were rejected and nothing was stored ({reasons})",
            findings[:_FINDINGS],
        )
    conflicts = list(islice(disagreements(checked), _FINDINGS))
    if conflicts:
        raise RejectedPanel(
            f"files contradict each other and nothing was stored ({'; '.join(conflicts[:5])});"
            " keep the row that is right, or give known_at",
            [],
        )


def _first_reason(checked: CheckedFile) -> str:
    if checked.report and checked.report.findings:
        finding = checked.report.findings[0]
        return f"{finding.code} {finding.message}"
    return checked.error or ""


if __name__ == "__main__":
    sys.exit(run(IngestSpec, work))
