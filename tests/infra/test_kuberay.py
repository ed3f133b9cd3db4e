"""The manifests agree with the code, with the lock file and with what a cluster would accept."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.settings import DEFAULT_PORT, Settings, ray_environment
from monitoring import exporter

ROOT = Path(__file__).parents[2]
README = (ROOT / "kuberay" / "README.md").read_text()
RAY_KINDS = ("RayService", "RayJob", "RayCluster")
Thing = dict[str, Any]


def pick(things: list[Thing], kind: str) -> Thing:
    (only,) = [thing for thing in things if thing["kind"] == kind]
    return only


def ray_things(things: list[Thing]) -> list[Thing]:
    return [thing for thing in things if thing["kind"] in RAY_KINDS]


def serve_config(things: list[Thing]) -> Thing:
    config: Thing = yaml.safe_load(pick(things, "RayService")["spec"]["serveConfigV2"])
    return config


def test_when_ray_objects_are_judged_by_the_schemas_then_none_is_refused(
    base: list[Thing], schemas: Any
) -> None:
    assert {thing["kind"]: schemas.problems(thing) for thing in ray_things(base)} == {
        "RayService": [],
        "RayJob": [],
    }


def test_when_kustomize_renders_then_the_schemas_accept_the_result(
    rendered: list[Thing], schemas: Any
) -> None:
    assert [problem for thing in ray_things(rendered) for problem in schemas.problems(thing)] == []


def test_when_core_objects_are_judged_then_none_is_refused(base: list[Thing], core_problems: Any) -> None:
    core = [thing for thing in base if thing["kind"] not in RAY_KINDS]
    assert len(core) >= 4
    assert [problem for thing in core for problem in core_problems(thing)] == []


def test_when_kustomize_renders_then_every_name_that_is_used_is_there(
    rendered: list[Thing], core_problems: Any, containers: Any
) -> None:
    names = {(thing["kind"], thing["metadata"]["name"]) for thing in rendered}
    for thing in rendered:
        assert thing["kind"] == "Namespace" or thing["metadata"]["namespace"] == "quantis"
        assert thing["kind"] in RAY_KINDS or core_problems(thing) == []
    for thing in ray_things(rendered):
        for pod, container in containers(thing):
            for source in container.get("envFrom", []):
                assert ("ConfigMap", source["configMapRef"]["name"]) in names
            for volume in pod["volumes"]:
                if claim := volume.get("persistentVolumeClaim"):
                    assert ("PersistentVolumeClaim", claim["claimName"]) in names


def test_when_an_image_is_set_then_every_container_runs_it(rendered: list[Thing], containers: Any) -> None:
    images = {container["image"] for thing in ray_things(rendered) for _, container in containers(thing)}
    assert len(images) == 1


def test_when_the_operator_judges_then_it_refuses_nothing(base: list[Thing], operator_problems: Any) -> None:
    assert [problem for thing in ray_things(base) for problem in operator_problems(thing)] == []


def test_when_the_rendered_objects_reach_the_operator_then_it_refuses_nothing(
    rendered: list[Thing], operator_problems: Any
) -> None:
    assert [problem for thing in ray_things(rendered) for problem in operator_problems(thing)] == []


def test_when_ray_is_locked_then_the_manifests_name_the_same_version(
    base: list[Thing], cluster: Any, locked: Callable[[str], str]
) -> None:
    assert {cluster(thing)["rayVersion"] for thing in ray_things(base)} == {locked("ray")}


def test_when_nodes_join_then_they_need_a_token(base: list[Thing], cluster: Any) -> None:
    for thing in ray_things(base):
        assert cluster(thing)["authOptions"]["mode"] == "token"
        assert f"generic {cluster(thing)['authOptions']['secretName']} --from-literal=auth_token" in README


def test_when_serve_imports_the_application_then_module_and_name_exist(base: list[Thing]) -> None:
    (application,) = serve_config(base)["applications"]
    assert (application["name"], application["route_prefix"]) == ("quantis", "/")
    module, _, name = application["import_path"].partition(":")
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text())
    assert name in defined(tree)


def defined(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def test_when_a_module_is_run_then_it_exists_and_takes_these_arguments(
    base: list[Thing], containers: Any
) -> None:
    lines = [c.get("command", c.get("args", [])) for t in ray_things(base) for _, c in containers(t)]
    commands = [" ".join(line) for line in lines if line]
    commands.append(pick(base, "RayJob")["spec"]["entrypoint"])
    assert len(commands) == 4
    for command in commands:
        words = command.split()
        assert words[:2] == ["python", "-m"]
        source = (ROOT / (words[2].replace(".", "/") + ".py")).read_text()
        assert '__name__ == "__main__"' in source
        for word in words[3:]:
            if word.startswith("--"):
                assert f'"{word.partition("=")[0]}"' in package_text(words[2]), word
            else:
                assert (ROOT / word).is_file(), word


def package_text(module: str) -> str:
    """A module may leave its arguments to a neighbour in its package."""
    return "".join(file.read_text() for file in (ROOT / module.partition(".")[0]).glob("*.py"))


def test_when_ports_are_named_then_they_are_the_ones_the_code_listens_on(
    base: list[Thing], settings_env: dict[str, str], containers: Any
) -> None:
    ports = {
        port["name"]: port["containerPort"]
        for thing in ray_things(base)
        for _, container in containers(thing)
        for port in container.get("ports", [])
    }
    assert ports == {
        "gcs-server": 6379,
        "dashboard": 8265,
        "client": 10001,
        "serve": DEFAULT_PORT,
        "metrics": exporter.PORT,
    }
    assert serve_config(base)["http_options"]["port"] == int(settings_env["QUANTIS_PORT"]) == DEFAULT_PORT
    assert settings_env["QUANTIS_RAY_DASHBOARD"].endswith(f"-head-svc:{ports['dashboard']}")
    scraped = re.findall(
        r"prometheus\.io/port: \"(\d+)\"", (ROOT / "kuberay/base/rayservice.yaml").read_text()
    )
    assert scraped == [str(exporter.PORT)]


def test_when_a_probe_names_a_port_then_its_container_has_it_or_ray_opens_it(
    base: list[Thing], containers: Any
) -> None:
    probes = 0
    for thing in ray_things(base):
        for _, container in containers(thing):
            named = {port["name"] for port in container.get("ports", [])}
            for kind in ("readinessProbe", "livenessProbe"):
                if probe := container.get(kind):
                    port = probe["httpGet"]["port"]
                    assert port in named or port == 52365
                    probes += 1
    assert probes == 10


def test_when_settings_are_given_then_the_code_reads_each_of_them(
    base: list[Thing], settings_env: dict[str, str], containers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = {e["name"] for t in ray_things(base) for _, c in containers(t) for e in c.get("env", [])}
    fields = {f"QUANTIS_{field.upper()}" for field in Settings.model_fields}
    assert {name for name in {*settings_env, *secret} if name.startswith("QUANTIS_")} <= fields
    for name, value in settings_env.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.port == DEFAULT_PORT
    expected = {k: v for k, v in ray_environment(settings).items() if not k.startswith("RAY_AUTH")}
    assert {k: v for k, v in settings_env.items() if not k.startswith("QUANTIS_")} == expected


def test_when_secrets_are_used_then_none_is_in_the_files_and_the_readme_makes_each(
    base: list[Thing], containers: Any
) -> None:
    assert not [thing for thing in base if thing["kind"] == "Secret"]
    for thing in ray_things(base):
        for pod, container in containers(thing):
            for entry in container.get("env", []):
                assert f"--from-literal={entry['valueFrom']['secretKeyRef']['key']}=" in README
            for volume in pod["volumes"]:
                for item in volume.get("secret", {}).get("items", []):
                    assert f"--from-literal={item['key']}=" in README


def test_when_the_nodes_metrics_are_merged_then_their_folder_is_of_the_node_alone(
    base: list[Thing], settings_env: dict[str, str], containers: Any
) -> None:
    for thing in ray_things(base):
        for pod, container in containers(thing):
            mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
            if settings_env["QUANTIS_DATA_DIR"] in mounts:
                volume = mounts[settings_env["PROMETHEUS_MULTIPROC_DIR"]]
                (found,) = [v for v in pod["volumes"] if v["name"] == volume]
                assert "emptyDir" in found


def test_when_pods_run_then_they_are_restricted_and_bounded(base: list[Thing], containers: Any) -> None:
    for thing in ray_things(base):
        for pod, container in containers(thing):
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert pod["automountServiceAccountToken"] is False
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["readOnlyRootFilesystem"] is True
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert {"cpu", "memory"} <= set(container["resources"]["limits"])


def _mutated(base: list[Thing], kind: str, change: Callable[[Thing], None]) -> Thing:
    thing = copy.deepcopy(pick(base, kind))
    change(thing)
    return thing


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("RayService", lambda t: t["spec"].update(serveConfig="x")),
        ("RayService", lambda t: t["spec"]["rayClusterConfig"].update(rayVersion=2.60)),
        ("RayService", lambda t: t["spec"]["rayClusterConfig"]["authOptions"].update(mode="on")),
        ("RayService", lambda t: t["spec"]["rayClusterConfig"].pop("headGroupSpec")),
        ("RayService", lambda t: t["spec"]["rayClusterConfig"]["workerGroupSpecs"][0].pop("groupName")),
        (
            "RayService",
            lambda t: t["spec"]["rayClusterConfig"]["headGroupSpec"]["rayStartParams"].update(
                {"num-cpus": 0}
            ),
        ),
        (
            "RayService",
            lambda t: t["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][
                0
            ].update(livenesProbe={}),
        ),
        ("RayJob", lambda t: t["spec"].update(entrypoint=["python"])),
        ("RayJob", lambda t: t["spec"].update(managedBy="ray.io/kuberay-operator")),
    ],
)
def test_when_an_object_breaks_the_schema_then_the_judge_says_so(
    base: list[Thing], schemas: Any, kind: str, change: Callable[[Thing], None]
) -> None:
    assert schemas.problems(_mutated(base, kind, change))


def test_when_a_worker_group_leaves_out_what_has_a_default_then_the_judge_fills_it(
    base: list[Thing], schemas: Any
) -> None:
    def leave_out(thing: Thing) -> None:
        group = thing["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
        del group["minReplicas"], group["maxReplicas"]
        group["replicas"] = None

    assert schemas.problems(_mutated(base, "RayService", leave_out)) == []


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("RayJob", lambda t: t["spec"].pop("shutdownAfterJobFinishes")),
        ("RayJob", lambda t: t["spec"]["rayClusterSpec"].pop("rayVersion")),
        ("RayService", lambda t: t["spec"]["rayClusterConfig"].update(rayVersion="2.51.1")),
        ("RayService", lambda t: t["metadata"].update(name="q" * 48)),
        (
            "RayService",
            lambda t: t["spec"]["rayClusterConfig"]["headGroupSpec"].update(resources={"CPU": "1"}),
        ),
    ],
)
def test_when_an_object_breaks_a_rule_of_the_operator_then_it_is_refused(
    base: list[Thing], operator_problems: Any, kind: str, change: Callable[[Thing], None]
) -> None:
    assert operator_problems(_mutated(base, kind, change))


def test_when_a_core_object_has_an_unknown_field_then_it_is_refused(
    base: list[Thing], core_problems: Any
) -> None:
    claim = _mutated(base, "PersistentVolumeClaim", lambda t: t["spec"].update(accessMode="ReadWriteMany"))
    assert core_problems(claim)
