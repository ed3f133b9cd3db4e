"""Many files as one panel: which ones, each checked apart, and whether they have one frequency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from features.ray_data import map_files
from quantis.errors import InvalidInput, NotFound, QuantisError
from quantis.reading import ReadLimits, printable
from quantis.sandbox.client import check_untrusted_file
from quantis.types.datasets import CheckReport, DatasetSpec
from quantis.types.reading import ReadOptions

LIMITS = ReadLimits(file_bytes=4 * 2**30, seconds=600, working_memory=2 * 2**30)
_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".arrow", ".feather", ".json", ".gz", ".zst")
_MOST = 10_000


@dataclass(frozen=True)
class Checked:
    """One file: its report, or why it could not be read; its panel is kept in `folder`."""

    file: str
    folder: Path
    report: CheckReport | None
    error: str | None

    @property
    def accepted(self) -> bool:
        return self.report is not None and self.report.outcome != "reject"


def files_in(inbox: Path, folder: str) -> list[Path]:
    """The files of a folder of the inbox by name, without those that are hidden; links are not followed.

    NotFound without such a folder, InvalidInput when there is nothing in it or too much.
    """
    place = inbox / folder
    if place.is_symlink() or not place.is_dir():
        raise NotFound(f"the inbox has no folder {folder!r}; put the files there first")
    found = sorted(
        path
        for path in place.iterdir()
        if path.is_file() and not path.is_symlink() and path.suffix in _SUFFIXES and path.name[0] != "."
    )
    if not found:
        raise InvalidInput(f"folder {folder!r} of the inbox has no file ending in {', '.join(_SUFFIXES)}")
    if len(found) > _MOST:
        raise InvalidInput(
            f"folder {folder!r} has {len(found):,} files; at most {_MOST:,} are taken at a time"
        )
    return found


def check_files(
    files: Sequence[Path], staged: Path, spec: DatasetSpec, options: ReadOptions
) -> list[Checked]:
    """Each file through the same check as an upload, on Ray Data, a child process for each."""
    work = partial(
        _check, staged=str(staged), spec=spec.model_dump(mode="json"), options=options.model_dump()
    )
    answers = map_files(work, [str(path) for path in files], cpus=1.0)
    return [
        Checked(
            file=path.name,
            folder=staged / path.name,
            report=CheckReport.model_validate(answer["report"]) if answer["report"] else None,
            error=answer["error"],
        )
        for path, answer in zip(files, answers, strict=True)
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


def frequency_of(checked: Sequence[Checked], declared: str | None) -> str:
    """The one frequency of all files; InvalidInput names those that differ."""
    if declared:
        return declared
    found: dict[str, str] = {}
    for one in checked:
        if one.report and one.report.freq:
            found.setdefault(one.report.freq, one.file)
    if len(found) > 1:
        said = ", ".join(f"{freq} in {printable(file)}" for freq, file in found.items())
        raise InvalidInput(f"the files have several frequencies ({said}); ingest one dataset per frequency")
    return next(iter(found), "D")
