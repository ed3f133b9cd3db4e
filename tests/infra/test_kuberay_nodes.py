"""Nodes of a cluster have every secret that a setting may be, and an exporter of their own."""

from __future__ import annotations

from typing import Any, get_args

import yaml
from pydantic import SecretStr

from cluster.settings import Settings
from monitoring import exporter
from tests.infra.test_kuberay import README, ROOT, Thing, pick, ray_things


def secret_settings() -> set[str]:
    """Every setting that is a secret, and the one-time secret, by the name of its file."""
    fields = {
        name.replace("_", "-")
        for name, field in Settings.model_fields.items()
        if SecretStr in get_args(field.annotation) or field.annotation is SecretStr
    }
    return {*fields, "setup-secret"}


def test_when_a_setting_is_a_secret_then_every_pod_can_have_it_and_the_readme_says_how(
    base: list[Thing], containers: Any
) -> None:
    assert {"encryption-key", "redis-url", "oidc-client-secret"} <= secret_settings()
    for thing in ray_things(base):
        for pod, container in containers(thing):
            if "env" not in container:  # the submitter, which only asks Ray
                continue
            (volume,) = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
            assert {item["key"]: item["path"] for item in volume["items"]} == {
                name: name for name in secret_settings()
            }
            assert volume["optional"] is True  # a key that is not there must not keep the pod from starting
            assert {m["name"]: m.get("readOnly") for m in container["volumeMounts"]}["secrets"] is True
    for name in secret_settings():
        assert f"--from-literal={name}=" in README, name


def test_when_prometheus_scrapes_then_each_node_of_serving_answers_for_itself_and_for_nobody_else(
    base: list[Thing], settings_env: dict[str, str], cluster: Any
) -> None:
    """Behind port 8000 any node answers: two targets there told one node's counters twice."""
    service = cluster(pick(base, "RayService"))
    for group in (service["headGroupSpec"], *service["workerGroupSpecs"]):
        template = group["template"]
        notes = template["metadata"]["annotations"]
        assert notes["prometheus.io/port"] == str(exporter.PORT)
        (own,) = [c for c in template["spec"]["containers"] if c["name"] == "metrics"]
        assert template["spec"]["containers"][0] is not own  # the first one is Ray's
        folder = settings_env["PROMETHEUS_MULTIPROC_DIR"]
        assert f"--folder={folder}" in own["args"]
        assert f"--port={exporter.PORT}" in own["args"]
        mounts = {mount["name"]: mount["mountPath"] for mount in own["volumeMounts"]}
        assert mounts == {"metrics": folder, "scratch": "/tmp"}  # neither data nor secrets
        assert "env" not in own
        assert "envFrom" not in own


def test_when_somebody_else_than_prometheus_asks_an_exporter_then_the_network_keeps_them_out(
    base: list[Thing],
) -> None:
    policies = [thing for thing in base if thing["kind"] == "NetworkPolicy"]
    opened = [
        (policy["metadata"]["name"], rule)
        for policy in policies
        for rule in policy["spec"]["ingress"]
        if exporter.PORT in [port["port"] for port in rule.get("ports", [])]
    ]
    ((name, rule),) = opened
    assert name == "quantis-metrics"
    (source,) = rule["from"]
    assert source["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}
    assert source["podSelector"]["matchLabels"]
    for policy in policies:
        for rule in policy["spec"]["ingress"]:
            everybody = "from" not in rule or {"namespaceSelector": {}} in rule["from"]
            assert not everybody or rule.get("ports"), "nobody outside gets every port"
    ingress = (ROOT / "kuberay/overlays/production/ingress.yaml").read_text()
    assert "return status 404" in next(line for line in ingress.splitlines() if "/metrics" in line)


def test_when_the_scrape_file_for_kubernetes_finds_targets_then_they_are_the_exporters(
    base: list[Thing],
) -> None:
    (job,) = yaml.safe_load((ROOT / "monitoring/prometheus/kubernetes.yml").read_text())["scrape_configs"]
    assert job["job_name"] == "quantis"
    (namespaces,) = [sd["namespaces"]["names"] for sd in job["kubernetes_sd_configs"]]
    assert namespaces == [pick(base, "Namespace")["metadata"]["name"]]
    kept = {rule["source_labels"][0]: rule["regex"] for rule in job["relabel_configs"] if "regex" in rule}
    assert kept["__meta_kubernetes_pod_container_port_name"] == "metrics"
