"""Test that no setting can run code: allowed clusters and their options."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliopress.configs.clusters import ClusterKind, check_options, option_names
from foliopress.configs.errors import ConfigError
from foliopress.configs.loading import load_settings
from foliopress.configs.settings import ClusterSettings
from foliopress.deployments.form import Changes, settings_of

KINDS = get_args(ClusterKind)
SLURM, KUBERNETES = "dask_jobqueue.SLURMCluster", "dask_kubernetes.operator.KubeCluster"
CANARY = "canary-7f3a9c"


@pytest.mark.parametrize(
    "kind",
    [
        "distributed.utils.import_file",
        "distributed.LocalCluster",
        "distributed.deploy.local.LocalCluster",
        "distributed.SSHCluster",
        "distributed.SubprocessCluster",
        "dask_jobqueue.local.LocalCluster",
        "dask_jobqueue.core.JobQueueCluster",
        "dask_jobqueue.SLURMCluster.from_name",
        "dask_kubernetes.operator.kubecluster.make_cluster_spec",
        "dask_kubernetes.KubeCluster",
        "dask_cloudprovider.aws",
        "os.system",
        "dask_jobqueue.SLURMCluster\n",
        " dask_jobqueue.SLURMCluster",
    ],
)
def test_only_classes_of_the_list_are_started(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"^cluster\.kind: "):
        load_settings(options={"cluster.kind": kind})
    with pytest.raises(ValueError, match="kind"):
        Changes.model_validate({"cluster": {"kind": kind}})


RUNS_CODE = (
    *("image", "docker_image", "env", "env_vars", "env_extra", "environment", "worker_command", "command", "python"),
    *("shebang", "job_script_prologue", "job_script_epilogue", "job_extra", "job_extra_directives", "header_skip"),
    *("job_directives_skip", "submit_command_extra", "cancel_command_extra", "worker_extra_args", "extra", "preload"),
    *("preload_argv", "scheduler_options", "worker_options", "worker_class", "worker_module", "scheduler_cls"),
    *("job_cls", "protocol", "security", "custom_cluster_spec", "pod_template", "jupyter", "bootstrap"),
    *("extra_bootstrap", "user_data", "docker_args", "extra_vm_options", "auth", "address", "proxy_address"),
    *("cluster_options", "loop", "plugins", "local_directory", "log_directory", "shared_temp_directory"),
    *("create_mode", "shutdown_on_close", "aws_access_key_id", "aws_secret_access_key", "task_role_arn", "key_name"),
    *("execution_role_arn", "source_image", "projectid", "security_rules", "iam_instance_profile", "silence_logs"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_no_class_is_given_what_can_run_code_or_says_who_is_trusted(kind: ClusterKind) -> None:
    assert not set(option_names(kind)) & set(RUNS_CODE)
    for name in RUNS_CODE:
        with pytest.raises(ConfigError, match=f"{kind} may not be given {name} here; allowed: ") as caught:
            load_settings(options={"cluster.kind": kind, "cluster.options": {name: CANARY}})
        assert CANARY not in str(caught.value)


HARMS = [
    "a b",
    "a;touch /tmp/x",
    "$(touch /tmp/x)",
    "`id`",
    "a\n#SBATCH --wrap=id",
    "a\n",
    "{AWS_SECRET_ACCESS_KEY}",
    "-x",
    "--preload=/tmp/x.py",
    "a'b",
    'a"b',
    "a|b",
    "a&b",
    "a>b",
    "",
]


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_can_break_out_of_a_script_or_name_a_variable(kind: ClusterKind) -> None:
    for name in option_names(kind):
        for harm in HARMS:
            with pytest.raises(ValueError, match=name):
                check_options(kind, {name: harm})


@given(text=st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), kind=st.sampled_from(KINDS))
def test_whatever_is_let_through_needs_no_quotes_in_a_shell(text: str, kind: ClusterKind) -> None:
    import shlex

    for name in option_names(kind):
        try:
            check_options(kind, {name: text})
        except ValueError:
            continue
        assert shlex.split(text) == [text]
        assert shlex.quote(text.replace("=", "")) == text.replace("=", "")
        assert text.format() == text


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (KUBERNETES, {"name": "archive", "namespace": "scans", "resources": {"limits": {"cpu": "1", "memory": "4Gi"}}}),
        ("dask_gateway.GatewayCluster", {"worker_cores": 1, "worker_memory": 4.5}),
        (SLURM, {"queue": "long", "account": "lib-42", "cores": 16, "memory": "64GiB", "walltime": "04:00:00"}),
        ("dask_jobqueue.PBSCluster", {"resource_spec": "select=1:ncpus=24:mem=100GB", "processes": 24}),
        ("dask_cloudprovider.aws.FargateCluster", {"region_name": "eu-central-1", "worker_cpu": 1024}),
        ("dask_cloudprovider.gcp.GCPCluster", {"zone": "europe-west3-a", "preemptible": True}),
    ],
    ids=lambda value: value.rpartition(".")[2] if isinstance(value, str) else "options",
)
def test_sizes_queues_and_zones_can_be_chosen(kind: str, options: dict[str, object]) -> None:
    settings = load_settings(options={"cluster.kind": kind, "cluster.options": options})
    assert settings.cluster.options == options
    assert settings_of("access", Changes.model_validate({"cluster": {"kind": kind, "options": options}})) == settings


def test_the_form_lists_the_classes_and_refuses_what_a_profile_must_not_name() -> None:
    listed = str(Changes.model_json_schema())
    assert all(kind in listed for kind in KINDS)
    changes = Changes.model_validate({"cluster": {"kind": KUBERNETES, "options": {"image": CANARY}}})
    with pytest.raises(ConfigError, match="may not be given image") as caught:
        settings_of("access", changes)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("address", ["tcp://host:8786", "tls://host:8786", "ws://host:80", "host:8786", "[::1]:8786"])
def test_a_scheduler_has_an_address(address: str) -> None:
    assert ClusterSettings(scheduler=address).scheduler == address


@pytest.mark.parametrize(
    "address",
    ["inproc://x", "file:///x", "https://x", "tcp://me:secret@x:1", "x:1/y", "x:1?token=y", "a b", "x:1\n"],
)
def test_what_is_no_address_of_a_scheduler_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"^cluster\.scheduler: "):
        load_settings(options={"cluster.scheduler": address})
