"""Jobs that are in a known state: each function returns when py-spy sees the state it names.

What a rank looks like, outermost first (thread names are Ray's):
a rank that trains is in TrainingThread(…): train_fn → teach → DeepSpeed, its MainThread idle in
`main_loop`; one that joins the process group is in MainThread: execute → _setup_torch_process_group.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import psutil

from tests.ray import processes
from tests.ray.cluster import Cluster
from tests.ray.jobs import Job
from tests.ray.processes import is_in

SECRETS = {
    "HF_TOKEN": "hf_planted0000000000000000000000000",
    "DATABASE_URL": "postgres://planted:planted-password@db.example.org/runs",
}
SECRET_ARGUMENT = "API_KEY=sk-planted000000000000000000"
PLANTED = ("planted0000", "planted-password", "planted-word")
"""What must never be printed of the secrets above and of what `--talk` prints."""
STACKS_EVERY_S = 1.0
"""How often stacks are read while a job gets into its state: py-spy is a process each time."""
HANG_STEP = 200
"""Where the shared job hangs: late enough to compare the losses of another job with its own."""


def training(cluster: Cluster, *args: str, ranks: int = 2) -> Job:
    """All ranks train on."""
    job = cluster.submit(*args, "--workers", str(ranks))
    for rank in range(ranks):
        job.wait_until_step(rank, 2)
    return job


def asleep_in_user_code(
    cluster: Cluster, *args: str, step: int = 20, env: Mapping[str, str] | None = None
) -> Job:
    """Rank 1 sleeps in `load_batch` at a step; rank 0 is in ZeRO-2's reduction (`all_reduce`).

    `backward` → `_backward_epilogue` → `allreduce_gradients` → `allreduce_bucket` → `all_reduce`.
    """
    job = cluster.submit("--fault", "sleep", "--fault-step", str(step), *args, env=env)
    job.wait_until_stuck(after_step=step - 1)
    return job


def holding_the_gil(cluster: Cluster) -> Job:
    """Rank 1 is in `hold_the_gil` → `re.match`, on one whole core, for longer than any test.

    Its other threads stand where they were; rank 0 is in the reduction.
    """
    job = cluster.submit("--fault", "gil")
    job.wait_until_stuck(after_step=19)
    return job


def with_a_dead_data_worker(cluster: Cluster) -> Job:
    """Rank 1 is in `_try_get_data`; one of its two DataLoader workers in `read_from_a_dead_disk`.

    A DataLoader worker is a forked child with the same title, and even the same thread name, as
    its rank. Rank 0 is in the reduction.
    """
    job = cluster.submit("--fault", "data", "--data-workers", "2")
    job.wait_until_stuck(after_step=19)
    return job


def late_for_rendezvous(cluster: Cluster) -> Job:
    """Rank 0 is in `init_process_group` → `_create_c10d_store`, rank 1 in `be_late`, before it.

    Both MainThreads are busy with the task `execute._setup_torch_process_group` (so is the
    process title); the controller's event loop is blocked in `_TorchBackend.on_start`.
    """
    job = cluster.submit("--fault", "late")

    def waits() -> bool:
        pids = [actor.pid for actor in job.actors()]
        return any(is_in(pid, "_create_c10d_store") for pid in pids) and any(
            is_in(pid, "be_late") for pid in pids
        )

    job.wait_for("rank 0 waits for rank 1", waits, every=STACKS_EVERY_S)
    return job


def without_resources(cluster: Cluster) -> Job:
    """No worker exists: the controller's event loop is blocked in `PlacementGroup.wait`.

    After RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S (60 s) it gives up and at once begins again.
    """
    job = cluster.submit("--gpus", "99")
    job.wait_for(
        "the controller waits for its placement group",
        lambda: any(
            is_in(actor.pid, "_call_placement_group_ready")
            for actor in job.actors("TrainController")
        ),
        every=STACKS_EVERY_S,
    )
    return job


def behind_a_stale_lock(cluster: Cluster, extensions: Path) -> Job:
    """All ranks are in `FileBaton.wait`, for the lock that `stale_lock(extensions)` names."""
    lock = stale_lock(extensions)
    lock.parent.mkdir(parents=True)
    lock.touch()
    job = cluster.submit("--compile-ops", env={"TORCH_EXTENSIONS_DIR": str(extensions)})

    def wait() -> bool:
        seen = [processes.names(processes.stacks(actor.pid)) for actor in job.actors()]
        return len(seen) == 2 and all({"_jit_compile", "wait"} <= names for names in seen)

    job.wait_for("both ranks wait for the lock", wait, every=STACKS_EVERY_S)
    return job


def stale_lock(extensions: Path) -> Path:
    """Return the lock of DeepSpeed's op in an extension folder."""
    return extensions / "deepspeed_shm_comm" / "lock"


def two_runs(cluster: Cluster, *args: str) -> Job:
    """Two fits train at once, `NAME-0` and `NAME-1`: one job, two controllers, 2×2 workers."""
    job = cluster.submit("--runs", "2", *args)
    for number in (0, 1):
        job.run(number).wait_until_step(1, 2)
    return job


def on_train_v1(cluster: Cluster, *args: str) -> Job:
    """All ranks train in Ray Train V1: no TrainController, and MainThread is never free.

    It runs `_RayTrainWorker__execute.get_next` from beginning to end; the training thread is
    `Thread-N (teach)`, and a Tune trainable stands in for the controller.
    """
    job = cluster.submit(*args, env={"RAY_TRAIN_V2_ENABLED": "0"})
    for rank in (0, 1):
        job.wait_until_step(rank, 2)
    return job


def data_workers(pid: int) -> list[int]:
    """Return the DataLoader workers of a rank."""
    return sorted(child.pid for child in psutil.Process(pid).children())
