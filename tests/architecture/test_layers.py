"""The layers hold, and the check that says so can fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("quantis", "features", "models", "monitoring", "cluster", "jobs", "serve")
HEAVY = ("ray", "torch", "mlflow", "pandas", "fastapi")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo", "--verbose"],
        cwd=folder, text=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(folder)},
    )  # fmt: skip


def toy(folder: Path, module: str, text: str) -> Path:
    """A tree of the same shape, under the same contracts, with one module in it."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in PACKAGES:
        (folder / package).mkdir()
        (folder / package / "__init__.py").touch()
        (folder / package / "inner.py").touch()
    (folder / module).write_text(text)
    return folder


def test_when_the_product_is_linted_then_every_contract_is_kept() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_when_a_tree_keeps_the_layers_then_the_linter_accepts_it(tmp_path: Path) -> None:
    done = lint(
        toy(tmp_path, "serve/outer.py", "import ray\nfrom cluster import inner\nimport quantis.inner\n")
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("quantis/bad.py", "import features.inner\n"),
        ("features/bad.py", "from models import inner\n"),
        ("features/bad.py", "import cluster.inner\n"),
        ("models/bad.py", "def late():\n    from monitoring import inner\n    return inner\n"),
        ("monitoring/bad.py", "import cluster.inner\n"),
        ("cluster/bad.py", "import jobs.inner\n"),
        ("cluster/bad.py", "import serve.inner\n"),
        ("jobs/bad.py", "import serve.inner\n"),
        ("serve/bad.py", "import jobs.inner\n"),
        ("models/bad.py", "import fastapi\n"),
        *[("quantis/bad.py", f"import {heavy}\n") for heavy in HEAVY],
    ],
)
def test_when_a_module_reaches_the_wrong_way_then_the_linter_refuses(
    tmp_path: Path, module: str, text: str
) -> None:
    done = lint(toy(tmp_path, module, text))
    assert done.returncode == 1, done.stdout
    assert "1 broken" in done.stdout


def imported(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


REPORT = "import sys\n{body}\nprint(' '.join(['-', *(m for m in sys.modules if '.' not in m)]))"
HELP = """
sys.argv = ["quantis", "--help"]
from quantis.cli.main import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""


def test_when_help_is_asked_then_the_heavy_libraries_stay_unimported() -> None:
    seen = imported(REPORT.format(body=HELP))
    assert "quantis" in seen
    assert not seen & set(HEAVY)


def test_when_a_heavy_library_is_imported_then_the_probe_sees_it() -> None:
    assert "pandas" in imported(REPORT.format(body="import pandas"))


@pytest.mark.parametrize("module", ["jobs.evaluation.candidates", "models.families.boosting.model"])
def test_when_a_ray_task_begins_then_its_worker_imports_little(module: str) -> None:
    seen = imported(REPORT.format(body=f"import {module}"))
    assert not seen & {"torch", "mlflow", "ray", "sqlalchemy", "statsforecast"}


def test_when_a_training_worker_opens_the_backend_then_neither_mlflow_nor_torch_is_imported() -> None:
    body = "from cluster.backend import Backend\nBackend.from_settings().jobs"
    assert not imported(REPORT.format(body=body)) & {"mlflow", "torch", "ray", "lightgbm", "statsforecast"}
