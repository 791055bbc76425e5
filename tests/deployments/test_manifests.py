"""The files that bring Foliopress to other places. They cannot all be run here, so they are held against their schemas.

What Docker and Kubernetes would make of them is checked by the schemas of both; that the flows, settings and names in
them exist is looked up.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema

from deployments.form import Changes, settings_of

ROOT = Path(__file__).resolve().parents[2]
PLACES = ROOT / "deployments"
PREFECT, IN_PODS = PLACES / "prefect.yaml", PLACES / "kubernetes" / "prefect.yaml"
COMPOSE, DOCKERFILE = PLACES / "docker" / "compose.yaml", PLACES / "docker" / "Dockerfile"
KUBERNETES = [PLACES / "kubernetes" / "dask.yaml"]
WANTED = {"compress", "estimate", "verify", "train"}


def loaded(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


DEPLOYMENTS: list[dict[str, Any]] = [one for path in (PREFECT, IN_PODS) for one in loaded(path)["deployments"]]
IDS = [f"{one['entrypoint'].rpartition(':')[2]}-{one['name']}-{one['work_pool']['name']}" for one in DEPLOYMENTS]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=IDS)
def test_a_deployment_names_a_flow_and_gives_it_parameters_that_it_has(deployment: dict[str, Any]) -> None:
    flow = load_flow_from_entrypoint(str(ROOT / deployment["entrypoint"]))
    schema = parameter_schema(flow)
    given = deployment.get("parameters", {})
    assert given.keys() <= schema.properties.keys()
    assert set(schema.required or []) <= given.keys()
    if "changes" in given:
        settings_of("access", Changes.model_validate(given["changes"]))


def test_there_is_a_deployment_of_each_flow_and_each_schedule_has_a_slug_of_its_own() -> None:
    assert {one["entrypoint"].rpartition(":")[2] for one in DEPLOYMENTS} == WANTED
    slugs = [schedule["slug"] for one in DEPLOYMENTS for schedule in one.get("schedules", [])]
    assert slugs and len(slugs) == len(set(slugs))
    assert len({(one["entrypoint"], one["name"]) for one in DEPLOYMENTS}) == len(DEPLOYMENTS)
    assert {one["work_pool"]["name"] for one in DEPLOYMENTS} == {"foliopress", "foliopress-pods"}


def test_what_writes_to_a_dest_runs_one_at_a_time() -> None:
    for one in DEPLOYMENTS:
        if one["entrypoint"].endswith(":compress"):
            assert one["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_the_compose_file_is_one() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_services_depend_on_services_that_there_are_and_wait_for_health_where_it_is_checked() -> None:
    services = loaded(COMPOSE)["services"]
    for service in services.values():
        for name in service.get("depends_on", []):
            assert name in services
        if isinstance(service.get("depends_on"), dict):
            for name, condition in service["depends_on"].items():
                assert condition["condition"] != "service_healthy" or "healthcheck" in services[name]


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.name)
def test_the_manifests_are_what_kubernetes_takes(path: Path) -> None:
    documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    assert documents
    for document in documents:
        kubernetes_validate.validate(document, "1.31", strict=True)
        if document["kind"] == "Deployment":
            wanted = document["spec"]["selector"]["matchLabels"]
            assert wanted.items() <= document["spec"]["template"]["metadata"]["labels"].items()


def test_kubernetes_has_workers_with_and_without_a_gpu_and_a_service_before_the_scheduler() -> None:
    documents = [one for path in KUBERNETES for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
    pods = {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]["containers"][0]
        for one in documents
        if one["kind"] == "Deployment"
    }
    gpus = [name for name, pod in pods.items() if "nvidia.com/gpu" in pod["resources"]["limits"]]
    assert gpus == ["foliopress-gpu"]
    assert "GPU=1" in pods["foliopress-gpu"]["command"] and "GPU=1" not in pods["foliopress-cpu"]["command"]
    (service,) = (one for one in documents if one["kind"] == "Service")
    ports = {port["containerPort"] for port in pods[service["metadata"]["name"]]["ports"]}
    assert {port["port"] for port in service["spec"]["ports"]} <= ports
    for name in ("foliopress-cpu", "foliopress-gpu"):
        assert f"tcp://{service['metadata']['name']}:8786" in pods[name]["command"]


def test_the_image_holds_every_folder_that_the_command_imports() -> None:
    copied = set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE))
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"benchmarks", "tests", "scripts"}
    assert copied == folders


@pytest.mark.parametrize(
    "path", [PREFECT, IN_PODS, COMPOSE, *KUBERNETES], ids=lambda path: f"{path.parent.name}-{path.name}"
)
def test_no_file_holds_a_secret_of_its_own(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for line in re.findall(r"^.*(?:PASSWORD|SECRET).*:.*$", text, re.MULTILINE):
        assert "${" in line, line
