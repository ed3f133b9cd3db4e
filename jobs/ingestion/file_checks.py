"""Files that become one panel: their list, the check of each of them and their common frequency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cluster.ray.session import declared_memory
from features.ray_data import map_files
from quantis.errors import InvalidInput, NotFound, QuantisError
from quantis.reading import ReadLimits, printable
from quantis.sandbox.client import check_untrusted_file
from quantis.types.datasets import CheckReport, DatasetSpec
from quantis.types.reading import ReadOptions

LIMITS = ReadLimits(file_bytes=4 * 2**30, seconds=600, working_memory=2 * 2**30)
_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".arrow", ".feather", ".json", ".gz", ".zst")
MAX_FILES = 10_000


@dataclass(frozen=True)
class CheckedFile:
    """A file with its report, or the error that kept it from being read; its panel is in `folder`."""

    file: str
    folder: Path
    report: CheckReport | None
    error: str | None

    @property
    def accepted(self) -> bool:
        return self.report is not None and self.report.outcome != "reject"


def files_in(inbox: Path, folder: str) -> list[Path]:
    """Return the files of a folder of the inbox by name, without hidden ones; links are not followed.

    NotFound without such a folder, InvalidInput when it has no file or too many.
    """
    path = inbox / folder
    if path.is_symlink() or not path.is_dir():
        raise NotFound(f"the inbox has no folder {folder!r}; put the files there first")
    files = sorted(
        file
        for file in path.iterdir()
        if file.is_file() and not file.is_symlink() and file.suffix in _SUFFIXES and file.name[0] != "."
    )
    if not files:
        raise InvalidInput(f"folder {folder!r} of the inbox has no file ending in {', '.join(_SUFFIXES)}")
    if len(files) > MAX_FILES:
        raise InvalidInput(
            f"folder {folder!r} has {len(files):,} files; at most {MAX_FILES:,} are taken at a time"
        )
    return files


def check_files(
    files: Sequence[Path], staged: Path, spec: DatasetSpec, options: ReadOptions
) -> list[CheckedFile]:
    """Check each file as an upload is checked, on Ray Data, in a process of its own."""
    work = partial(
        _check, staged=str(staged), spec=spec.model_dump(mode="json"), options=options.model_dump()
    )
    results = map_files(work, [str(path) for path in files], cpus=1.0, memory=declared_memory(1) or None)
    return [
        CheckedFile(
            file=path.name,
            folder=staged / path.name,
            report=CheckReport.model_validate(result["report"]) if result["report"] else None,
            error=result["error"],
        )
        for path, result in zip(files, results, strict=True)
    ]


def _check(path: str, *, staged: str, spec: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    source = Path(path)
    folder = Path(staged) / source.name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        report, _, _ = check_untrusted_file(
            source,
            name=source.name,
            spec=DatasetSpec.model_validate(spec),
            limits=LIMITS,
            options=ReadOptions.model_validate(options),
            output_dir=folder,
        )
    except QuantisError as error:
        return {"report": None, "error": error.message}
    return {"report": report.model_dump(mode="json"), "error": None}


def common_frequency(checked: Sequence[CheckedFile], declared: str | None) -> str:
    """Return the frequency of all files; InvalidInput names those that differ."""
    if declared and not {file.report.freq for file in checked if file.report} - {declared, None}:
        return declared
    first_file: dict[str, str] = {}
    for file in checked:
        if file.report and file.report.freq:
            first_file.setdefault(file.report.freq, file.file)
    if len(first_file) > 1:
        listed = ", ".join(f"{freq} in {printable(file)}" for freq, file in first_file.items())
        raise InvalidInput(f"the files have several frequencies ({listed}); ingest one dataset per frequency")
    return next(iter(first_file), "D")
