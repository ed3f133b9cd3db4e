"""The manifests as objects, and a judge of them that answers as an API server with KubeRay would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
KUBERAY = ROOT / "kuberay"
KUBERNETES = "1.34"
MAX_NAME = 47

Thing = dict[str, Any]


class Schemas:
    """KubeRay's CustomResourceDefinitions, turned into strict JSON Schemas."""

    def __init__(self, folder: Path) -> None:
        self._schemas: dict[str, Thing] = {}
        for file in sorted(folder.glob("ray.io_*.yaml")):
            definition = yaml.load(file.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            for version in definition["spec"]["versions"]:
                if version["name"] == "v1":
                    self._schemas[definition["spec"]["names"]["kind"]] = version["schema"]["openAPIV3Schema"]

    def problems(self, thing: Thing) -> list[str]:
        """What an API server would refuse, defaults filled in first; unknown fields too."""
        schema = self._schemas[thing["kind"]]
        filled = _filled(schema, _without_nulls(thing))
        errors = jsonschema.Draft202012Validator(_strict(schema)).iter_errors(filled)
        found = [f"{error.json_path}: {error.message}" for error in errors]
        return found + [
            f"{path}: has a CEL rule that this judge cannot evaluate" for path in _rules(schema, filled)
        ]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _filled(schema: Thing, value: Any) -> Any:
    if isinstance(value, dict):
        known = schema.get("properties", {})
        other = schema.get("additionalProperties", {})
        defaults = {k: s["default"] for k, s in known.items() if "default" in s and k not in value}
        return {k: _filled(known.get(k, other if isinstance(other, dict) else {}), v)
                for k, v in {**defaults, **value}.items()}  # fmt: skip
    if isinstance(value, list):
        return [_filled(schema.get("items", {}), item) for item in value]
    return value


def _strict(schema: Any) -> Any:
    """Unknown fields are errors, except where the schema keeps them or says nothing about fields."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": schema.get("pattern", "")}]}
    kept = {k: v for k, v in schema.items() if not k.startswith("x-") and k not in ("description", "default")}
    if "properties" in kept:
        kept["properties"] = {k: _strict(v) for k, v in kept["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            kept.setdefault("additionalProperties", False)
    if isinstance(kept.get("additionalProperties"), dict):
        kept["additionalProperties"] = _strict(kept["additionalProperties"])
    if "items" in kept:
        kept["items"] = _strict(kept["items"])
    return kept


def _rules(schema: Thing, value: Any, path: str = "$") -> Iterator[str]:
    """Fields in use whose CEL rules judge the object alone (not its change)."""
    if any("oldSelf" not in rule["rule"] for rule in schema.get("x-kubernetes-validations", [])):
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in schema.get("properties", {}):
                yield from _rules(schema["properties"][key], inner, f"{path}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _rules(schema.get("items", {}), inner, f"{path}[{number}]")


def cluster_of(thing: Thing) -> Thing:
    spec: Thing = thing["spec"]["rayClusterConfig" if thing["kind"] == "RayService" else "rayClusterSpec"]
    return spec


def groups_of(thing: Thing) -> list[Thing]:
    cluster = cluster_of(thing)
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def refused_by_operator(thing: Thing) -> list[str]:
    """The operator's own rules that no schema states, those that these manifests rely on."""
    found = []
    cluster, groups = cluster_of(thing), groups_of(thing)
    name = thing["metadata"]["name"]
    if len(name) > MAX_NAME or not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
        found.append(f"name {name!r} is not a DNS label of at most {MAX_NAME} characters")
    if cluster.get("authOptions", {}).get("mode") == "token":
        parts = [int(part) for part in re.findall(r"\d+", cluster.get("rayVersion", ""))]
        if parts < [2, 52]:
            found.append("token authentication needs rayVersion 2.52.0 or later")
    if thing["spec"].get("suspend") and not thing["spec"].get("shutdownAfterJobFinishes"):
        found.append("a suspended RayJob needs shutdownAfterJobFinishes")
    for group in groups:
        pod = group["template"]["spec"]
        if not pod.get("containers"):
            found.append("a group has no container")
        if group.get("resources") and {"num-cpus", "num-gpus", "memory", "resources"} & set(
            group["rayStartParams"]
        ):
            found.append("resources are given twice")
        if cluster.get("enableInTreeAutoscaling") and pod.get("restartPolicy", "Never") != "Never":
            found.append("autoscaler v2 needs restartPolicy Never")
    head = groups[0]["template"]["spec"].get("containers") or [{}]
    if {"RAY_REDIS_ADDRESS", "REDIS_PASSWORD"} & {e["name"] for e in head[0].get("env", [])}:
        found.append("Redis belongs into gcsFaultToleranceOptions")
    return found


def containers_of(thing: Thing) -> Iterator[tuple[Thing, Thing]]:
    """(pod spec, container) of every container that the object will run."""
    pods = [group["template"]["spec"] for group in groups_of(thing)]
    if submitter := thing["spec"].get("submitterPodTemplate"):
        pods.append(submitter["spec"])
    for pod in pods:
        for container in (*pod.get("initContainers", []), *pod["containers"]):
            yield pod, container


def _load(text: str) -> list[Thing]:
    return [thing for thing in yaml.safe_load_all(text) if thing]


@pytest.fixture(scope="session")
def base() -> list[Thing]:
    """The objects of the base as they are written."""
    names = yaml.safe_load((KUBERAY / "base" / "kustomization.yaml").read_text())["resources"]
    return [thing for name in names for thing in _load((KUBERAY / "base" / name).read_text())]


@pytest.fixture(scope="session")
def settings_env() -> dict[str, str]:
    lines = (KUBERAY / "base" / "settings.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture(scope="session", params=["base", "overlays/production"])
def rendered(request: pytest.FixtureRequest) -> list[Thing]:
    """The objects as kustomize makes them."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed; the files are checked as they are written")
    done = subprocess.run(
        [kubectl, "kustomize", str(KUBERAY / request.param)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return _load(done.stdout)


@pytest.fixture(scope="session")
def schemas() -> Schemas:
    folder = os.environ.get("QUANTIS_CRD_DIR")
    if not folder:
        pytest.skip("QUANTIS_CRD_DIR does not name a folder with KubeRay's CustomResourceDefinitions")
    return Schemas(Path(folder))


@pytest.fixture(scope="session")
def core_problems() -> Callable[[Thing], list[str]]:
    def problems(thing: Thing) -> list[str]:
        try:
            kubernetes_validate.validate(thing, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            return [f"{'.'.join(map(str, error.path))}: {error.message}"]
        return []

    return problems


@pytest.fixture(scope="session")
def operator_problems() -> Callable[[Thing], list[str]]:
    return refused_by_operator


@pytest.fixture(scope="session")
def containers() -> Callable[[Thing], Iterator[tuple[Thing, Thing]]]:
    return containers_of


@pytest.fixture(scope="session")
def cluster() -> Callable[[Thing], Thing]:
    return cluster_of


@pytest.fixture(scope="session")
def locked() -> Callable[[str], str]:
    """The version of a package in the lock file."""
    text = (ROOT / "requirements" / "lock.txt").read_text()

    def version(package: str) -> str:
        found = re.search(rf"^{re.escape(package)}==([^\s\\;]+)", text, re.M)
        assert found, f"{package} is not in the lock file"
        return found[1]

    return version
