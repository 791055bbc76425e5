"""List the cluster classes that a run may start, and the options that settings may set; both lists are closed.

A profile or form sets the size of a cluster and its place in a queue, never the code that runs there. Everything that
can run code, on the workers or here, is excluded: images, commands, scripts, environments, preloads, extra arguments,
paths of files that contain any of these, and addresses of trusted parties. An operator sets these in Dask's
configuration (`~/.config/dask/*.yaml`, `DASK_KUBERNETES__IMAGE=…`) on the machine that starts the run.

Texts are limited to letters, digits and a few signs: some of these classes write them unquoted into shell scripts,
others expand `{…}` in them to environment variables.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:@/+-]*$", max_length=200)]
"""Name of a queue, an account or a zone: no space, quote, brace, `$`, `;` or line break."""
_Resources = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:=,/+-]*$", max_length=400)]
"""Resource request in the syntax of a batch system, e.g. `select=1:ncpus=24:mem=100GB`."""
_Size = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?([kKMGT]i?)?B?$")]
"""Size in bytes, e.g. `16GiB`."""
_Time = Annotated[str, Field(pattern=r"^[0-9][0-9:-]*$")]
"""Duration, e.g. `04:00:00`."""
_Count = Annotated[int, Field(ge=0, le=100_000)]
_Amounts = dict[
    Annotated[str, Field(pattern=r"^[a-z][a-z0-9./-]*$")], Annotated[str, Field(pattern=r"^[0-9.]+[a-zA-Z]*$")]
]
"""Amounts in Kubernetes notation, e.g. `{cpu: "1", memory: 4Gi}`."""

ClusterOptions = dict[str, object]
"""Options of a cluster class by name, as a profile gives them; `check_options` checks their values."""


class _Options(BaseModel):
    """Options of one class; those not set come from Dask's configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    n_workers: _Count | None = None


class _KubernetesResources(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    requests: _Amounts = {}
    limits: _Amounts = {}


class _Kubernetes(_Options):
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=50)] | None = None
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=63)] | None = None
    resources: _KubernetesResources | None = None
    idle_timeout: _Count | None = None
    resource_timeout: _Count | None = None
    scheduler_service_type: Literal["ClusterIP", "NodePort", "LoadBalancer"] | None = None


class _Gateway(BaseModel):
    """Options that most gateways offer; the gateway's operator decides which are allowed and which image runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    worker_cores: Annotated[float, Field(gt=0, le=1024)] | None = None
    worker_memory: Annotated[float, Field(gt=0)] | None = None
    """GiB."""


class _Queue(_Options):
    """Options common to all batch systems."""

    cores: _Count | None = None
    memory: _Size | None = None
    processes: _Count | None = None
    queue: _Word | None = None
    walltime: _Time | None = None
    interface: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=30)] | None = None
    nanny: bool | None = None
    death_timeout: _Count | None = None
    config_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=60)] | None = None
    """Section of the operator's own `jobqueue.yaml`."""


class _Slurm(_Queue):
    account: _Word | None = None
    job_cpu: _Count | None = None
    job_mem: _Size | None = None


class _WithResources(_Queue):
    """Options of PBS, Moab, SGE and OAR."""

    project: _Word | None = None
    account: _Word | None = None
    resource_spec: _Resources | None = None


class _Lsf(_Queue):
    project: _Word | None = None
    ncpus: _Count | None = None
    mem: _Count | None = None


class _HTCondor(_Options):
    cores: _Count | None = None
    memory: _Size | None = None
    disk: _Size | None = None
    processes: _Count | None = None
    nanny: bool | None = None
    death_timeout: _Count | None = None
    config_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=60)] | None = None


class _Ecs(_Options):
    region_name: _Word | None = None
    worker_cpu: _Count | None = None
    worker_mem: _Count | None = None
    worker_gpu: _Count | None = None
    scheduler_cpu: _Count | None = None
    scheduler_mem: _Count | None = None
    fargate_spot: bool | None = None


class _Ec2(_Options):
    region: _Word | None = None
    availability_zone: _Word | None = None
    instance_type: _Word | None = None
    worker_instance_type: _Word | None = None
    scheduler_instance_type: _Word | None = None
    filesystem_size: _Count | None = None
    use_private_ip: bool | None = None


class _Azure(_Options):
    location: _Word | None = None
    resource_group: _Word | None = None
    vnet: _Word | None = None
    vm_size: _Word | None = None
    worker_vm_size: _Word | None = None
    scheduler_vm_size: _Word | None = None
    disk_size: _Count | None = None


class _Gcp(_Options):
    zone: _Word | None = None
    machine_type: _Word | None = None
    filesystem_size: _Count | None = None
    ngpus: _Count | None = None
    gpu_type: _Word | None = None
    preemptible: bool | None = None


ClusterKind = Literal[
    "dask_kubernetes.operator.KubeCluster",
    "dask_gateway.GatewayCluster",
    "dask_jobqueue.SLURMCluster",
    "dask_jobqueue.PBSCluster",
    "dask_jobqueue.MoabCluster",
    "dask_jobqueue.SGECluster",
    "dask_jobqueue.OARCluster",
    "dask_jobqueue.LSFCluster",
    "dask_jobqueue.HTCondorCluster",
    "dask_cloudprovider.aws.FargateCluster",
    "dask_cloudprovider.aws.ECSCluster",
    "dask_cloudprovider.aws.EC2Cluster",
    "dask_cloudprovider.azure.AzureVMCluster",
    "dask_cloudprovider.gcp.GCPCluster",
]
"""Exact class names."""

_OPTIONS: dict[ClusterKind, type[BaseModel]] = {
    "dask_kubernetes.operator.KubeCluster": _Kubernetes,
    "dask_gateway.GatewayCluster": _Gateway,
    "dask_jobqueue.SLURMCluster": _Slurm,
    "dask_jobqueue.PBSCluster": _WithResources,
    "dask_jobqueue.MoabCluster": _WithResources,
    "dask_jobqueue.SGECluster": _WithResources,
    "dask_jobqueue.OARCluster": _WithResources,
    "dask_jobqueue.LSFCluster": _Lsf,
    "dask_jobqueue.HTCondorCluster": _HTCondor,
    "dask_cloudprovider.aws.FargateCluster": _Ecs,
    "dask_cloudprovider.aws.ECSCluster": _Ecs,
    "dask_cloudprovider.aws.EC2Cluster": _Ec2,
    "dask_cloudprovider.azure.AzureVMCluster": _Azure,
    "dask_cloudprovider.gcp.GCPCluster": _Gcp,
}


def option_names(kind: ClusterKind) -> tuple[str, ...]:
    """Return the names of the options allowed for a class of cluster."""
    return tuple(_OPTIONS[kind].model_fields)


def check_options(kind: ClusterKind, options: ClusterOptions) -> None:
    """Reject options that a class of cluster must not be given; values are not quoted, as they may be secret.

    Raises:
        ValueError: If an option is not allowed or its value is malformed; the message names it.
    """
    refused = sorted(options.keys() - set(option_names(kind)))
    if refused:
        raise ValueError(
            f"{kind} may not be given {', '.join(refused)} here; allowed: {', '.join(option_names(kind))}. Set image, "
            "commands and environment in Dask's configuration on the machine that starts the run"
        )
    _OPTIONS[kind].model_validate(options)
