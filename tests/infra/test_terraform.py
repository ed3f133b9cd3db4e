"""The module has its four files, says what each variable is, and reads what kustomize renders."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hcl2
import pytest

from tests.infra.test_kuberay_nodes import secret_settings

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "terraform" / "modules" / "kuberay"
FILES = ("main.tf", "outputs.tf", "variables.tf", "versions.tf")
SECRET = "x" * 32
VALUES = {
    "operator_repository": "https://charts.example.com",
    "database_url": "postgresql+psycopg://db/quantis",
    "mlflow_url": "postgresql+psycopg://db/mlflow",
    "jwt_secret": SECRET,
    "setup_secret": SECRET,
    "ray_token": SECRET,
}


def parse(name: str) -> dict[str, Any]:
    with (MODULE / name).open() as file:
        parsed: dict[str, Any] = hcl2.load(file)
    return parsed


def blocks(kind: str, name: str) -> dict[str, dict[str, Any]]:
    """Blocks with one label, by that label; the parser keeps quotes in some versions."""
    return {label.strip('"'): body for block in parse(name)[kind] for label, body in block.items()
            if not label.startswith("__")}  # fmt: skip


def unformatted(text: str) -> list[str]:
    """What `terraform fmt` would change, as far as indents, blanks and aligned equals signs go."""
    found: list[str] = []
    levels: list[int] = []  # brackets that one line left open together
    run: list[tuple[int, int]] = []
    for number, line in enumerate([*text.splitlines(), ""], 1):
        bare = re.sub(r'"(\\.|[^"\\])*"', lambda text: '"' + "x" * (len(text[0]) - 2) + '"', line).partition(
            "#"
        )[0]
        opened = sum(bare.count(c) for c in "{[(") - sum(bare.count(c) for c in "}])")
        if opened < 0 and levels:
            levels[-1] += opened
            levels = levels[:-1] if levels[-1] <= 0 else levels
        if line.strip() and len(line) - len(line.lstrip()) != 2 * len(levels):
            found.append(f"line {number}: indent")
        if line != line.rstrip() or "\t" in line:
            found.append(f"line {number}: blanks at the end or a tab")
        if opened > 0:
            levels.append(opened)
        if opened == 0 and re.match(r"""\s*[\w."-]+\s*= ?\S""", bare):
            run.append((number, bare.index("=")))
        else:
            if len({column for _, column in run}) > 1:
                found.append(f"line {run[0][0]}: equals signs are not aligned")
            run = []
    return found


def test_when_the_module_is_listed_then_it_has_the_four_files_and_a_readme() -> None:
    assert {file.name for file in MODULE.iterdir() if not file.name.startswith(".")} == {*FILES, "README.md"}


@pytest.mark.parametrize("name", FILES)
def test_when_a_file_is_read_then_it_parses_and_is_formatted(name: str) -> None:
    assert parse(name)
    assert unformatted((MODULE / name).read_text()) == []


@pytest.mark.parametrize(
    "text",
    ["a {\n    b = 1\n}\n", "a {\n  b = 1 \n}\n", "a {\n  b = 1\n  long = 2\n}\n", "a {\n\tb = 1\n}\n"],
)
def test_when_a_file_is_untidy_then_the_check_says_so(text: str) -> None:
    assert unformatted(text)


def test_when_terraform_is_here_then_it_would_format_nothing() -> None:
    done = run("fmt", "-check", "-diff", "-recursive", str(ROOT / "terraform"))
    assert done.returncode == 0, done.stdout


def test_when_a_variable_is_declared_then_it_is_described_and_typed_and_used() -> None:
    variables = blocks("variable", "variables.tf")
    main = (MODULE / "main.tf").read_text() + (MODULE / "outputs.tf").read_text()
    assert len(variables) > 8
    for name, body in variables.items():
        assert len(str(body["description"])) > 20, name
        assert body["type"], name
        assert f"var.{name}" in main, name
        if re.search(r"secret|password|token|_key|_url$", name):
            assert body.get("sensitive") is True, name


def test_when_an_output_is_declared_then_it_is_described() -> None:
    outputs = blocks("output", "outputs.tf")
    assert outputs
    assert all(len(str(body["description"])) > 20 for body in outputs.values())


def test_when_secrets_are_made_then_they_have_the_names_and_keys_that_the_pods_ask_for(
    base: list[Any], containers: Any, cluster: Any
) -> None:
    main = (MODULE / "main.tf").read_text()
    for thing in (t for t in base if t["kind"].startswith("Ray")):
        assert f'"{cluster(thing)["authOptions"]["secretName"]}"' in main
        for pod, container in containers(thing):
            keys = [entry["valueFrom"]["secretKeyRef"]["key"] for entry in container.get("env", [])]
            for volume in pod["volumes"]:
                if secret := volume.get("secret"):
                    assert f'"{secret["secretName"]}"' in main
                    keys += [item["key"] for item in secret["items"]]
            for key in keys:
                assert re.search(rf"^\s+{re.escape(key)}\s+= var\.", main, re.M), key


def test_when_a_setting_is_a_secret_then_the_module_can_bring_it() -> None:
    variables = blocks("variable", "variables.tf")
    main = (MODULE / "main.tf").read_text()
    for name in secret_settings():
        variable = name.replace("-", "_")
        assert variable in variables, name
        assert re.search(rf"^\s+{re.escape(name)}\s+= var\.{variable}$", main, re.M), name
    for variable in ("encryption_key", "jwt_secret_previous", "redis_url", "oidc_client_secret"):
        assert variable in (MODULE / "README.md").read_text()


def run(*words: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    terraform = shutil.which("terraform")
    if terraform is None:
        pytest.skip("terraform is not installed")
    return subprocess.run([terraform, *words], cwd=folder, capture_output=True, text=True)


def plan(folder: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """The module's variables and locals alone, which need no provider, applied with real values."""
    locals_block = re.search(r"^locals \{\n.*?^\}\n", (MODULE / "main.tf").read_text(), re.M | re.S)
    assert locals_block
    shutil.copy(MODULE / "variables.tf", folder)
    (folder / "main.tf").write_text(
        locals_block[0] + 'output "objects" {\n  value = keys(local.objects)\n}\n'
    )
    (folder / "terraform.tfvars.json").write_text(json.dumps({**VALUES, **changes}))
    done = run("init", "-input=false", folder=folder)
    assert done.returncode == 0, done.stderr
    return run("apply", "-auto-approve", "-input=false", "-no-color", folder=folder)


def test_when_kustomize_has_rendered_then_terraform_reads_every_object(
    tmp_path: Path, rendered: list[Any]
) -> None:
    kubectl = shutil.which("kubectl")
    assert kubectl
    path = "overlays/production" if any(t["kind"] == "PodDisruptionBudget" for t in rendered) else "base"
    text = subprocess.run(
        [kubectl, "kustomize", str(ROOT / "kuberay" / path)], check=True, capture_output=True, text=True
    ).stdout
    done = plan(tmp_path, manifests=text)
    assert done.returncode == 0, done.stderr
    shown = json.loads(run("output", "-json", "objects", folder=tmp_path).stdout)
    wanted = [f"{t['kind']}/{t['metadata']['name']}" for t in rendered if t["kind"] != "Namespace"]
    assert sorted(shown) == sorted(wanted)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jwt_secret", "short"),
        ("encryption_key", "short"),
        ("ray_token", "short"),
        ("database_url", "sqlite:///quantis.db"),
        ("operator_version", "1.4.2"),
        ("namespace", "Not_A_Label"),
    ],
)
def test_when_a_value_is_wrong_then_terraform_refuses_it(tmp_path: Path, name: str, value: str) -> None:
    done = plan(tmp_path, **{name: value})
    assert done.returncode != 0
    assert f"var.{name}" in done.stderr or "Invalid value for variable" in done.stderr


def test_when_ray_is_locked_then_the_readme_of_the_manifests_names_it(locked: Callable[[str], str]) -> None:
    major_minor = ".".join(locked("ray").split(".")[:2])
    assert f"Ray {major_minor}" in (ROOT / "kuberay" / "README.md").read_text()
