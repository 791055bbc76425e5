"""The files that bring Foliopress to other places. They cannot all be run here, so they are held against their schemas.

What Docker and Kubernetes would make of them is checked by the schemas of both; that the flows, settings and names in
them exist is looked up.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.utilities.templating import apply_values

from foliopress.deployments.form import Changes, settings_of

ROOT = Path(__file__).resolve().parents[2]
PLACES = ROOT / "deployments"
PREFECT, IN_PODS = PLACES / "prefect.yaml", PLACES / "kubernetes" / "prefect.yaml"
COMPOSE, DOCKERFILE = PLACES / "docker" / "compose.yaml", PLACES / "docker" / "Dockerfile"
DASK, NETWORK = PLACES / "kubernetes" / "dask.yaml", PLACES / "kubernetes" / "network.yaml"
JOB_TEMPLATE = PLACES / "kubernetes" / "job-template.json"
KUBERNETES = [DASK, NETWORK]
WANTED = {"compress", "estimate", "verify", "train"}


def loaded(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def pods() -> dict[str, dict[str, Any]]:
    """Return all pods that are described, by the name of what starts them: their labels and their spec."""
    documents = [one for path in KUBERNETES for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
    found = {one["metadata"]["name"]: one["spec"]["template"] for one in documents if one["kind"] == "Deployment"}
    return {**found, "run": job_manifest()["spec"]["template"]}


def job_manifest() -> dict[str, Any]:
    """Return the job that Prefect starts for a run, filled in as Prefect does it, by names in double braces."""
    template = json.loads(JOB_TEMPLATE.read_text(encoding="utf-8"))
    properties = template["variables"]["properties"]
    values = {name: one.get("default") for name, one in properties.items()} | {"name": "x", "command": ["a"], "env": []}

    def filled(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: filled(value) for key, value in part.items()}
        if isinstance(part, list):
            return [filled(value) for value in part]
        if isinstance(part, str) and (whole := re.fullmatch(r"{{ (\w+) }}", part)):
            return values[whole[1]]
        return re.sub(r"{{ (\w+) }}", lambda one: str(values[one[1]]), part) if isinstance(part, str) else part

    found: dict[str, Any] = filled(template["job_configuration"]["job_manifest"])
    return found


DEPLOYMENTS: list[dict[str, Any]] = [one for path in (PREFECT, IN_PODS) for one in loaded(path)["deployments"]]
IDS = [f"{one['entrypoint'].rpartition(':')[2]}-{one['name']}-{one['work_pool']['name']}" for one in DEPLOYMENTS]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=IDS)
@pytest.mark.parametrize("scheduler", ["", "tcp://dask-scheduler:8786"], ids=["local", "scheduler"])
def test_a_deployment_names_a_flow_and_gives_it_parameters_that_it_has(
    deployment: dict[str, Any], scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLIOPRESS_SCHEDULER", scheduler)
    flow = load_flow_from_entrypoint(str(ROOT / deployment["entrypoint"]))
    schema = parameter_schema(flow)
    given = apply_values(deployment.get("parameters", {}), {})  # as Prefect fills in variables
    assert given.keys() <= schema.properties.keys()
    assert set(schema.required or []) <= given.keys()
    if "changes" in given:
        filled = json.loads(re.sub(r"{{ \$FOLIOPRESS_SCHEDULER }}", "tcp://dask:8786", json.dumps(given["changes"])))
        settings_of("access", Changes.model_validate(filled))


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
    containers = {name: pod["spec"]["containers"][0] for name, pod in pods().items()}
    gpus = [name for name, one in containers.items() if "nvidia.com/gpu" in one["resources"]["limits"]]
    assert gpus == ["foliopress-gpu"]
    assert "GPU=1" in containers["foliopress-gpu"]["command"] and "GPU=1" not in containers["foliopress-cpu"]["command"]
    (service,) = (one for one in documents if one["kind"] == "Service")
    ports = {port["containerPort"] for port in containers[service["metadata"]["name"]]["ports"]}
    assert {port["port"] for port in service["spec"]["ports"]} <= ports
    for name in ("foliopress-cpu", "foliopress-gpu"):
        assert f"tcp://{service['metadata']['name']}:8786" in containers[name]["command"]


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


def test_the_job_of_a_run_is_what_kubernetes_takes_and_names_only_variables_that_there_are() -> None:
    kubernetes_validate.validate(job_manifest(), "1.31", strict=True)
    template = json.loads(JOB_TEMPLATE.read_text(encoding="utf-8"))
    named = set(re.findall(r"{{ (\w+) }}", json.dumps(template["job_configuration"])))
    assert named == set(template["variables"]["properties"])
    assert "job-template.json" in IN_PODS.read_text(encoding="utf-8")
    for one in loaded(IN_PODS)["deployments"]:
        assert one["work_pool"]["job_variables"].keys() <= named


@pytest.mark.parametrize("name", ["foliopress-dask", "foliopress-cpu", "foliopress-gpu", "run"])
def test_a_pod_has_no_rights_that_it_does_not_need(name: str) -> None:
    """As the profile `restricted` of Kubernetes' pod security asks, and a root that cannot be written besides."""
    assert pods().keys() == {"foliopress-dask", "foliopress-cpu", "foliopress-gpu", "run"}
    spec = pods()[name]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert spec["securityContext"]["runAsNonRoot"] is True and spec["securityContext"]["runAsUser"] == 10001
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    writable = {volume["name"] for volume in spec["volumes"] if volume.keys() == {"name", "emptyDir"}}
    assert len(writable) == len(spec["volumes"])
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        mounted = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
        assert mounted.keys() == {"/tmp", "/home/foliopress"} and set(mounted.values()) == writable


def may_call(caller: dict[str, str], called: dict[str, str], port: int) -> bool:
    """Return what the network policies make of a call from a pod to another, by their labels."""
    policies = [one["spec"] for one in yaml.safe_load_all(NETWORK.read_text(encoding="utf-8"))]

    def meets(labels: dict[str, str], selector: dict[str, Any]) -> bool:
        return selector.get("matchLabels", {}).items() <= labels.items() and all(
            one["operator"] == "In" and labels.get(one["key"]) in one["values"]
            for one in selector.get("matchExpressions", [])
        )

    def lets(rules: list[dict[str, Any]], other: dict[str, str], side: str) -> bool:
        return any(
            (not rule.get("ports") or any(one["port"] == port for one in rule["ports"]))
            and any("podSelector" in peer and meets(other, peer["podSelector"]) for peer in rule[side])
            for rule in rules
        )

    def passes(labels: dict[str, str], other: dict[str, str], kind: str, side: str) -> bool:
        held = [one for one in policies if meets(labels, one["podSelector"]) and kind in one["policyTypes"]]
        return not held or any(lets(one.get(kind.lower(), []), other, side) for one in held)

    return passes(caller, called, "Egress", "to") and passes(called, caller, "Ingress", "from")


def test_the_scheduler_is_called_by_drivers_and_workers_alone_and_workers_by_nobody_from_outside() -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods().items()}
    scheduler, cpu, gpu, driver = (
        labels[name] for name in ("foliopress-dask", "foliopress-cpu", "foliopress-gpu", "run")
    )
    for caller in (driver, cpu, gpu):
        assert may_call(caller, scheduler, 8786)
        assert not may_call(caller, scheduler, 8787)
    assert may_call(scheduler, cpu, 40000) and may_call(cpu, gpu, 40000)
    assert not may_call(driver, cpu, 40000)
    for stranger in ({"app": "other"}, {"app": "other", "part": "driver"}, {}):
        for called in (scheduler, cpu, gpu, driver):
            assert not may_call(stranger, called, 8786) and not may_call(stranger, called, 40000)
            assert not may_call(called, stranger, 80)


def test_no_pod_may_ask_where_clouds_hand_out_the_credentials_of_a_node() -> None:
    for policy in yaml.safe_load_all(NETWORK.read_text(encoding="utf-8")):
        for rule in policy["spec"].get("egress", []):
            for block in (peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer):
                assert {"169.254.0.0/16"} & set(block["except"]) or {"fe80::/10"} & set(block["except"])
                assert {port["port"] for port in rule["ports"]} <= {443, 4200}


def test_every_service_is_confined_and_listens_on_loopback_alone() -> None:
    for name, service in loaded(COMPOSE)["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"] and not service.get("cap_add"), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert any(one.startswith("/tmp") for one in service["tmpfs"]), name
        assert not service.get("privileged") and "network_mode" not in service, name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert not [one for one in service.get("volumes", []) if "docker.sock" in one or one.startswith((".", "/"))]
        assert name == "s3" or service.get("user", "10001") != "0", name


def test_the_image_is_not_root_s_and_fetches_no_scripts() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    users = re.findall(r"^USER (.*)$", text, re.MULTILINE)
    assert users == ["10001:10001"]  # a number: Kubernetes cannot tell a name from root's
    last_run = text.rindex("\nRUN ")
    assert text.index("\nUSER ") > last_run
    assert not re.search(r"curl|wget|^ADD |\| *(?:ba)?sh\b", text, re.MULTILINE)


IMAGES = re.findall(
    r"^(?:FROM| *image:) +([^\s$]+)$",
    DOCKERFILE.read_text(encoding="utf-8") + "\n" + COMPOSE.read_text(encoding="utf-8"),
    re.MULTILINE,
)


def test_images_of_others_are_pinned_by_their_digests() -> None:
    others = [name for name in IMAGES if name != "foliopress"]
    assert len(others) == 3
    assert [name for name in others if not re.fullmatch(r"[a-z0-9./-]+:[\w.-]+@sha256:[0-9a-f]{64}", name)] == []


def test_the_pins_are_renewed_where_they_stand(tmp_path: Path) -> None:
    """With a `docker` that answers as the real one does."""
    for part in ("scripts/pin_images.sh", "deployments/docker/Dockerfile", "deployments/docker/compose.yaml"):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / part, tmp_path / part)
    compose = tmp_path / "deployments" / "docker" / "compose.yaml"
    compose.write_text(re.sub(r"(image: postgres:16)@\S+", r"\1", compose.read_text()))  # one that has none yet
    fake = tmp_path / "bin" / "docker"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\nprintf "sha256:%s\\n" "$(printf %s "$6" | sha256sum | cut -c1-64)"\n')
    fake.chmod(0o755)
    path = f"{fake.parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["bash", tmp_path / "scripts" / "pin_images.sh"], env={**os.environ, "PATH": path}, check=True)
    now = (tmp_path / "deployments/docker/Dockerfile").read_text() + compose.read_text()
    assert len(re.findall(r"@sha256:[0-9a-f]{64}$", now, re.MULTILINE)) == 3
    assert not [name for name in IMAGES if "@" in name and name.partition("@")[2] in now]
    without = re.compile(r"@sha256:[0-9a-f]{64}")
    before = DOCKERFILE.read_text(encoding="utf-8") + COMPOSE.read_text(encoding="utf-8")
    assert without.sub("", now) == without.sub("", before)
    fake.write_text("#!/bin/sh\necho no such image\n")
    assert subprocess.run(["bash", tmp_path / "scripts" / "pin_images.sh"], env={**os.environ, "PATH": path}).returncode


def test_pip_and_setuptools_are_pinned_for_the_image_and_for_what_setup_installs() -> None:
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert re.search(r"^pip==[\d.]+$", pinned, re.MULTILINE) and re.search(
        r"^setuptools==[\d.]+$", pinned, re.MULTILINE
    )
    for path in (DOCKERFILE, ROOT / "scripts" / "setup.sh"):
        text = path.read_text(encoding="utf-8")
        assert re.search(r"pip setuptools\b", text), path
        assert "--build-constraint constraints.txt" in text, path  # what builds our own package is held to them too


def test_the_build_is_given_only_what_the_image_is_made_of(tmp_path: Path) -> None:
    lines = [
        line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n") if line[:1] not in ("", "#")
    ]
    assert lines[0] == "*"
    copied = re.findall(r"^COPY (.+) \S+$", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    wanted = {name for line in copied for name in line.split()}
    assert wanted <= {line[1:] for line in lines if line.startswith("!")}
    left_in = {line[1:] for line in lines if line.startswith("!")} - wanted
    assert left_in == {"app/.streamlit"}
    assert {"**/.*", "**/*.pem", "**/secrets.toml"} <= set(lines)
