"""The GPUs of one rank."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from dsray_inspect.agent.assemble.rank_evidence import why_none
from dsray_inspect.agent.handles import ProcessHandle
from dsray_inspect.agent.model import OK, EnvVar, WorkerGpu
from dsray_inspect.agent.sampling.node_report import NodeReport
from dsray_inspect.agent.sampling.rank_report import ControllerWorker
from dsray_inspect.agent.unavailable import NOT_ASKED, Unavailable

_NVML_NOT_ASKED = Unavailable(reason="not_asked", detail="nobody asked NVML on this node")


def gpus_of(
    row: ProcessHandle,
    known: ControllerWorker | None,
    env: Mapping[str, EnvVar],
    report: NodeReport | None,
) -> tuple[tuple[WorkerGpu, ...], str]:
    """Return the GPUs of a rank, and "ok" or why a device could not be told.

    Ray's slots count the raylet's own CUDA_VISIBLE_DEVICES; `accelerator_ids` are what they
    stand for. A device is found in NVML by index, or named by its UUID already.
    """
    if not row.gpu_slots:
        return (), "Ray gave this rank no GPU"

    found = report.gpus if report is not None else NOT_ASKED
    gpus, is_known = _devices_of(
        row.gpu_slots,
        known.gpu_ids if known is not None else (),
        env["CUDA_VISIBLE_DEVICES"].value if "CUDA_VISIBLE_DEVICES" in env else "",
        tuple([(str(gpu.index), gpu.uuid) for gpu in found])
        if not isinstance(found, Unavailable)
        else (),
    )
    return gpus, OK if is_known else why_none(found, _NVML_NOT_ASKED)


@lru_cache(maxsize=4096)
def _devices_of(
    slots: tuple[int, ...],
    named: tuple[str, ...],
    seen: str,
    devices: tuple[tuple[str, str], ...],
) -> tuple[tuple[WorkerGpu, ...], bool]:
    """Return the GPU of each slot and whether all are known; `devices` are index and UUID of what
    the node has.

    Ranks that stand alike on a thousand nodes share one.
    """
    uuids, visible = dict(devices), seen.split(",")
    names = [named[at] if at < len(named) else str(slot) for at, slot in enumerate(slots)]
    gpus = tuple(
        WorkerGpu(
            slot=slot,
            visible=name if name in visible else None,
            uuid=name if name.startswith(("GPU-", "MIG-")) else uuids.get(name),
        )
        for slot, name in zip(slots, names, strict=True)
    )
    return gpus, all(gpu.uuid for gpu in gpus)
