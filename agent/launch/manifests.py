"""The manifests of a TrainJob, an MPIJob and a RayJob, as objects and as YAML."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from dsray_inspect.agent.launch.commands import mpirun_options
from dsray_inspect.agent.launch.plan import PlannedFile, PlannedNode, Program

TRAINING_RUNTIME: Final = "torch-distributed"
"""A runtime that Kubeflow Trainer brings along."""
IMAGE: Final = "IMAGE"
SECRET: Final = "SECRET"
"""Stand for an image and a Secret that are not known."""
GPU_RESOURCE: Final = "nvidia.com/gpu"
_MOST_OF_A_NAME: Final = 40
_MPI_USERS_SSH: Final = "/home/mpiuser"

Manifest = dict[str, Any]


def kubernetes_name(label: str) -> str:
    """Return a name that Kubernetes takes for objects and their services."""
    name = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:_MOST_OF_A_NAME].strip("-")
    return name if name[:1].isalpha() else f"job-{name}".strip("-")


def train_job(
    name: str,
    program: Program,
    nodes: Sequence[PlannedNode],
    *,
    given: Mapping[str, str],
    secrets: Sequence[str],
) -> Manifest:
    """Return a TrainJob whose nodes run torchrun, which takes its options from `PET_*`."""
    trainer: Manifest = {
        "numNodes": len(nodes),
        "numProcPerNode": len(nodes[0].ranks),
        "command": ["torchrun"],
        "args": list(program.words),
    }

    if resources := _resources(nodes):
        trainer["resourcesPerNode"] = {"requests": resources, "limits": resources}

    if given or secrets:
        trainer["env"] = _env(given, secrets)

    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": name},
        "spec": {"runtimeRef": {"name": TRAINING_RUNTIME}, "trainer": trainer},
    }


def mpi_job(
    name: str,
    program: Program,
    nodes: Sequence[PlannedNode],
    *,
    given: Mapping[str, str],
    secrets: Sequence[str],
) -> Manifest:
    """Return an MPIJob; its launcher reaches the workers by ssh, so only `-x` reaches a rank."""
    args = mpirun_options(nodes, given, secrets=secrets)
    launcher: Manifest = {
        "name": "launcher",
        "image": IMAGE,
        "command": ["mpirun"],
        "args": [*args, program.interpreter, *program.words],
    }
    worker: Manifest = {
        "name": "worker",
        "image": IMAGE,
        "command": ["/usr/sbin/sshd"],
        "args": ["-De", "-f", f"{_MPI_USERS_SSH}/.sshd_config"],
    }

    if secrets:
        launcher["env"] = _env({}, secrets)

    if resources := _resources(nodes):
        worker["resources"] = {"requests": resources, "limits": resources}

    return {
        "apiVersion": "kubeflow.org/v2beta1",
        "kind": "MPIJob",
        "metadata": {"name": name},
        "spec": {
            "mpiImplementation": "OpenMPI",
            "slotsPerWorker": len(nodes[0].ranks),
            "sshAuthMountPath": f"{_MPI_USERS_SSH}/.ssh",
            "mpiReplicaSpecs": {
                "Launcher": {"replicas": 1, "template": _template(launcher)},
                "Worker": {"replicas": len(nodes), "template": _template(worker)},
            },
        },
    }


def ray_job(
    name: str,
    entrypoint: str,
    nodes: Sequence[PlannedNode],
    *,
    given: Mapping[str, str],
    secrets: Sequence[str],
    ray_version: str | None,
) -> Manifest:
    """Return a RayJob with one pod per node, and a head that runs no rank."""
    spec: Manifest = {"entrypoint": entrypoint, "shutdownAfterJobFinishes": True}

    if given:
        spec["runtimeEnvYAML"] = yaml_text({"env_vars": dict(given)})

    cluster: Manifest = {"rayVersion": ray_version} if ray_version else {}
    cluster["headGroupSpec"] = {
        "rayStartParams": {"num-cpus": "0"},
        "template": _template({"name": "ray-head", "image": IMAGE}),
    }
    cluster["workerGroupSpecs"] = [_ray_workers(nodes, secrets)]
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": name},
        "spec": {**spec, "rayClusterSpec": cluster},
    }


def _ray_workers(nodes: Sequence[PlannedNode], secrets: Sequence[str]) -> Manifest:
    """Return a worker group of fixed size, one pod per node."""
    worker: Manifest = {"name": "ray-worker", "image": IMAGE}

    if resources := _resources(nodes):
        worker["resources"] = {"requests": resources, "limits": resources}

    if secrets:
        worker["env"] = _env({}, secrets)

    return {
        "groupName": "ranks",
        "replicas": len(nodes),
        "minReplicas": len(nodes),
        "maxReplicas": len(nodes),
        "rayStartParams": {},
        "template": _template(worker),
    }


def manifest_file(manifest: Manifest) -> PlannedFile:
    return PlannedFile(name=f"{manifest['kind'].lower()}.yaml", text=yaml_text(manifest))


def yaml_text(document: Manifest) -> str:
    """Return a document as YAML, its keys as they are and longer texts as blocks."""
    import yaml  # type: ignore[import-untyped]

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        def ignore_aliases(self, _data: object) -> bool:
            return True

    def written(dumper: Any, text: str) -> Any:
        style = "|" if "\n" in text else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, written)
    return str(yaml.dump(document, Dumper=Dumper, sort_keys=False, width=100))


def _template(container: Manifest) -> Manifest:
    return {"spec": {"containers": [container]}}


def _env(given: Mapping[str, str], secrets: Sequence[str]) -> list[Manifest]:
    shown = [{"name": name, "value": value} for name, value in given.items()]
    hidden = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": SECRET, "key": name}}}
        for name in secrets
    ]
    return [*shown, *hidden]


def _resources(nodes: Sequence[PlannedNode]) -> dict[str, str]:
    """Return what the largest node has reserved; a pod gets whole GPUs only."""
    cpus = max((node.cpus or 0.0 for node in nodes), default=0.0)
    gpus = max((node.gpus or 0.0 for node in nodes), default=0.0)
    found = {}

    if cpus:
        found["cpu"] = f"{cpus:g}" if float(cpus).is_integer() else f"{math.ceil(cpus * 1000)}m"

    if gpus:
        found[GPU_RESOURCE] = str(math.ceil(gpus))

    return found
