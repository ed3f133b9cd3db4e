"""Bundle format 3: a trained model on disk, without pickle, verified before and after it is loaded.

manifest.json         format_version, family, the sha256 of every other file, and the importance of covariates, if known
task.json             the task
lineage.json          code, libraries and time of the training; not in format 1
config.json           Parts.config
calibration.json      factors of its intervals, where a backtest gave them; not in formats 1 and 2
tensors.safetensors   Parts.tensors
texts/<name>          Parts.texts
sample/*.arrow        two short series and what the model must predict for them
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from models.arrays import floats, keep_series, truncate_history
from models.families.catalogue import FAMILIES, restore
from models.forecaster import Forecaster, Parts, column_importance
from models.postprocessing.calibration import Calibrated, Calibration, with_calibration
from quantis.errors import Conflict, QuantisError
from quantis.files import sync_folder, write_synced
from quantis.panel import DS, ID, Snapshot, Task, Y
from quantis.types.registry import Lineage

FORMAT_VERSION = 3
READABLE = (1, 2, 3)
CALIBRATION = "calibration.json"
_TOLERANCE = 1e-4
_SAMPLE_SERIES = 2
_SAMPLE_TABLES = ("history", "future", "static", "expected")


class BundleBroken(QuantisError):
    """The files differ from those written, or no longer predict what they did."""

    status, code, title = 500, "bundle_broken", "The model's bundle is broken"


def model_bytes(forecaster: Forecaster) -> int:
    """Return the size in bytes of a fitted model: its configuration, arrays and texts."""
    parts = forecaster.parts()
    arrays = sum(values.nbytes for values in parts.tensors.values())
    return len(json.dumps(parts.config)) + arrays + sum(len(text.encode()) for text in parts.texts.values())


def write_bundle(
    folder: Path, forecaster: Forecaster, snapshot: Snapshot, lineage: Lineage | None = None
) -> Path:
    """Write the whole bundle or nothing, and return its folder; two series of `snapshot` become its conformance sample.

    Conflict when the folder is there already.
    """
    if folder.exists():
        raise Conflict(f"bundle {folder.name!r} exists; bundles are written once, choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write_files(temporary, _contents(forecaster, snapshot, lineage))
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(folder.parent)
    return folder


def read_bundle(folder: Path, families: Mapping[str, str] = FAMILIES) -> Forecaster:
    """Verify every file, restore the forecaster, and return it if it still predicts its sample.

    BundleBroken names what does not agree. Code is loaded from `families` alone, never from the bundle.
    """
    family, files = _read_verified(folder)
    task = Task.model_validate_json(files["task.json"])
    texts = {name[6:]: data.decode() for name, data in files.items() if name.startswith("texts/")}
    parts = Parts(json.loads(files["config.json"]), load_tensors(files["tensors.safetensors"]), texts)
    forecaster = restore(family, task, parts, families)
    if CALIBRATION in files:
        forecaster = with_calibration(forecaster, Calibration.model_validate_json(files[CALIBRATION]))
    _check_sample(
        folder, forecaster, {name: _from_ipc(files[f"sample/{name}.arrow"]) for name in _SAMPLE_TABLES}
    )
    return forecaster


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a format that this code reads; BundleBroken otherwise."""
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        version, files = manifest["format_version"], manifest["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleBroken(
            f"bundle {folder.name!r} has no readable manifest.json; publish it again"
        ) from error
    if version not in READABLE:
        raise BundleBroken(
            f"bundle {folder.name!r} has format {version}, this code reads {READABLE[0]} to {READABLE[-1]}; "
            "a newer Quantis wrote it, run that one"
        )
    for name in files:
        if not re.fullmatch(r"(\w[\w.-]*/)?\w[\w.-]*", name):
            raise BundleBroken(f"bundle {folder.name!r} names a file {name!r} outside itself")
    return cast(dict[str, Any], manifest)


def read_lineage(folder: Path) -> Lineage | None:
    """Return the lineage of the bundle; None for one of format 1."""
    path = folder / "lineage.json"
    return Lineage.model_validate_json(path.read_bytes()) if path.is_file() else None


def conformance_sample(forecaster: Forecaster, snapshot: Snapshot) -> Snapshot:
    """Return the two series that were best observed of late, each cut to twice what the model needs."""
    steps = 2 * max(forecaster.min_history, forecaster.task.h)
    observed = snapshot.history[Y].is_valid().to_numpy()

    def quality(series: tuple[str, slice]) -> tuple[int, int, str]:
        name, rows = series
        return (
            -int(observed[max(rows.start, rows.stop - steps) : rows.stop].sum()),
            rows.start - rows.stop,
            name,
        )

    best = sorted(snapshot.history_index.rows.items(), key=quality)[:_SAMPLE_SERIES]
    return truncate_history(keep_series(snapshot, [name for name, _ in best]), steps)


def _contents(forecaster: Forecaster, snapshot: Snapshot, lineage: Lineage | None) -> dict[str, bytes]:
    parts, sample = forecaster.parts(), conformance_sample(forecaster, snapshot)
    tensors = {name: np.ascontiguousarray(values) for name, values in parts.tensors.items()}
    tables = {"history": sample.history, "future": sample.future, "static": sample.static}
    tables["expected"] = forecaster.predict(sample)
    files = {
        "task.json": forecaster.task.model_dump_json(indent=2).encode(),
        "config.json": json.dumps(parts.config, indent=2, allow_nan=False).encode(),
        "tensors.safetensors": save_tensors(tensors),
    }
    if isinstance(forecaster, Calibrated):
        files[CALIBRATION] = forecaster.calibration.model_dump_json(indent=2).encode()
    if lineage is not None:
        files["lineage.json"] = lineage.model_dump_json(indent=2).encode()
    files |= {f"texts/{name}": text.encode() for name, text in parts.texts.items()}
    files |= {f"sample/{name}.arrow": _to_ipc(table) for name, table in tables.items()}
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    manifest = {"format_version": FORMAT_VERSION, "family": forecaster.family, "files": hashes}
    if (importance := column_importance(forecaster, sample)) is not None:
        manifest["importance"] = importance
    return files | {"manifest.json": json.dumps(manifest, indent=2, sort_keys=True).encode()}


def _read_verified(folder: Path) -> tuple[str, dict[str, bytes]]:
    """Return the family and every file's content; hashes are checked before anything is parsed."""
    manifest = read_manifest(folder)
    files: dict[str, bytes] = {}
    for name, expected in manifest["files"].items():
        path = folder / name
        data = path.read_bytes() if path.is_file() else None
        if data is None or hashlib.sha256(data).hexdigest() != expected:
            problem = "is missing" if data is None else "was changed after it was written"
            raise BundleBroken(f"bundle {folder.name!r}: {name} {problem}; publish the model again")
        files[name] = data
    required = {
        "task.json",
        "config.json",
        "tensors.safetensors",
        *(f"sample/{n}.arrow" for n in _SAMPLE_TABLES),
    }
    if missing := required - files.keys():
        raise BundleBroken(
            f"bundle {folder.name!r} lacks {', '.join(sorted(missing))}; publish the model again"
        )
    return manifest["family"], files


def _check_sample(folder: Path, forecaster: Forecaster, tables: dict[str, pa.Table]) -> None:
    expected = tables.pop("expected")
    predicted = forecaster.predict(Snapshot(**tables))
    names = [name for name in expected.column_names if name not in (ID, DS)]
    same_rows = predicted.select([ID, DS]).equals(expected.select([ID, DS]))
    if not same_rows or not set(names) <= set(predicted.column_names):
        raise BundleBroken(f"bundle {folder.name!r} answers other series, times or quantiles than it did")
    gap = max((_relative_gap(floats(predicted[name]), floats(expected[name])) for name in names), default=0.0)
    if not gap <= _TOLERANCE:
        raise BundleBroken(
            f"bundle {folder.name!r} predicts its sample {gap:.2g} off, allowed are {_TOLERANCE:g}; "
            "the libraries differ from those that trained it: install the locked ones, or train again"
        )


def _relative_gap(predicted: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> float:
    """Return the largest difference, relative to values above 1."""
    return float(np.max(np.abs(predicted - expected) / np.maximum(1.0, np.abs(expected)), initial=0.0))


def _to_ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return cast(bytes, sink.getvalue().to_pybytes())


def _from_ipc(data: bytes) -> pa.Table:
    return pa.ipc.open_file(pa.BufferReader(data)).read_all()


def _write_files(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        write_synced(path, data)
    for path in (*(p for p in folder.iterdir() if p.is_dir()), folder):
        sync_folder(path)
