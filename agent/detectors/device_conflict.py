"""Ranks that use one GPU by mistake, by what Ray gave them or by what their own variables say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.detection import Detection, Facts
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.model import Record


class GpuGivenTwice(Facts, frozen=True, kw_only=True):
    """A GPU that Ray gave to several ranks, each of which asked for a whole one."""

    uuid: str


class SharedDevice(Record, frozen=True, kw_only=True):
    """A device that `cuda:LOCAL_RANK` is for several ranks of a node."""

    device: str
    ranks: tuple[int, ...]


class NoDevice(Record, frozen=True, kw_only=True):
    """A rank whose LOCAL_RANK is beyond its list of devices."""

    rank: int
    local_rank: int
    visible: str


class WrongDevices(Facts, frozen=True, kw_only=True):
    """What `cuda:LOCAL_RANK`, which DeepSpeed takes, comes to on some ranks."""

    shared: tuple[SharedDevice, ...]
    beyond: tuple[NoDevice, ...]


class _Visible(NamedTuple):
    """What a rank's own variables say of its device."""

    node_id: str
    rank: int
    local_rank: int
    value: str

    @property
    def names(self) -> list[str]:
        return [name.strip() for name in self.value.split(",") if name.strip()]

    @property
    def device(self) -> str | None:
        """Return the device that it takes; code that asks Ray Train takes the only one."""
        if self.local_rank < len(self.names):
            return self.names[self.local_rank]

        return self.names[0] if len(self.names) == 1 else None


@detector(causes=("device_conflict",), after=("world_of_one",))
def device_conflict(sample: AnalysisInput) -> list[Detection]:
    """Two ranks have one GPU: by what Ray gave them, or by what their own variables say."""
    given = _given_twice(sample)
    return given or _wrong_devices(sample)


def _wrong_devices(sample: AnalysisInput) -> list[Detection]:
    devices: dict[tuple[str, str], list[int]] = {}
    beyond: list[NoDevice] = []

    for visible in _visible_devices(sample):
        device = visible.device

        if device is not None:
            devices.setdefault((visible.node_id, device), []).append(visible.rank)
        else:
            beyond.append(
                NoDevice(rank=visible.rank, local_rank=visible.local_rank, visible=visible.value)
            )

    shared = tuple(
        SharedDevice(device=device, ranks=tuple(held))
        for (_, device), held in devices.items()
        if len(held) > 1
    )
    numbers = {rank for device in shared for rank in device.ranks}
    numbers |= {missing.rank for missing in beyond}

    if not numbers:
        return []

    return [
        Detection(
            cause="device_conflict",
            severity="warning",
            ranks=tuple(sorted(numbers)),
            facts=WrongDevices(shared=shared, beyond=tuple(beyond)),
        )
    ]


def _visible_devices(sample: AnalysisInput) -> Iterator[_Visible]:
    """Yield what the ranks see that did not ask for a part of a GPU."""
    on_purpose = _sharing(sample)

    for worker in sample.snapshot.workers:
        visible = worker.env.get("CUDA_VISIBLE_DEVICES")

        if visible is None or worker.local_rank is None or worker.rank is None or not worker.gpus:
            continue

        if worker.actor_id not in on_purpose:
            yield _Visible(worker.node_id, worker.rank, worker.local_rank, visible.value)


def _sharing(sample: AnalysisInput) -> set[str]:
    """Return the actors that asked for a part of a GPU."""
    actors = sample.observation.actors
    return {row.actor_id for row in actors.workers if row.gpu_share < 1} if actors else set()


def _given_twice(sample: AnalysisInput) -> list[Detection]:
    """Two ranks of this run have the same GPU, and did not ask for a part of one."""
    on_purpose = _sharing(sample)
    by_uuid: dict[str, list[int]] = {}

    for worker in sample.snapshot.workers:
        if worker.rank is None or worker.state != "alive" or worker.actor_id in on_purpose:
            continue

        for gpu in worker.gpus:
            if gpu.uuid:
                by_uuid.setdefault(gpu.uuid, []).append(worker.rank)

    return [
        Detection(
            cause="device_conflict",
            severity="warning",
            ranks=tuple(sorted(shared)),
            facts=GpuGivenTwice(uuid=uuid),
        )
        for uuid, shared in by_uuid.items()
        if len(shared) > 1
    ]
