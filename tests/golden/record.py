"""Record real stacks into `pyspy/`.

    python tests/golden/record.py --address http://127.0.0.1:8265 --only zero2

Each run is a job on a running Ray cluster of this machine; each scene of it is one dump, taken
when the function it names is on a stack. Needs root or ptrace rights; ends every job it starts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from ray.job_submission import JobSubmissionClient

HERE = Path(__file__).parent
MARK = "GOLDEN_RUN"
WORKER = r"ray::_?RayTrainWorker"
PATIENCE_S = 240


class Scene(NamedTuple):
    """A dump to take: when `function` in a file that ends in `file` is on a stack."""

    name: str
    function: str
    file: str
    process: str = WORKER
    options: tuple[str, ...] = ()
    innermost: bool = False
    """Whether that function must be the innermost frame."""
    child: bool = False
    """Whether it is in a child of a rank; `py-spy --json` leaves out --subprocesses."""


class Run(NamedTuple):
    """One job: arguments of `train.py`, environment, scenes."""

    arguments: str
    scenes: tuple[Scene, ...]
    env: tuple[tuple[str, str], ...] = ()
    hook: str = ""
    """What each worker process calls first."""


def step_scenes(name: str, *, reduces: str, file: str) -> tuple[Scene, ...]:
    return (
        Scene(f"{name}-deepspeed_init", "_configure_optimizer", "deepspeed/runtime/engine.py"),
        Scene(f"{name}-data", "__getitem__", "train.py"),
        Scene(f"{name}-user", "mix", "train.py"),
        Scene(f"{name}-forward", "forward", "torch/nn/modules/linear.py"),
        Scene(
            f"{name}-backward", "_engine_run_backward", "torch/autograd/graph.py", innermost=True
        ),
        Scene(f"{name}-grad_reduce", reduces, file),
        Scene(f"{name}-optimizer_step", "_single_tensor_adam", "torch/optim/adam.py"),
        Scene(f"{name}-checkpoint", "save_checkpoint", "deepspeed/runtime/engine.py"),
    )


STAGE_1_2 = {"reduces": "allreduce_bucket", "file": "deepspeed/runtime/zero/stage_1_and_2.py"}
RUNS = (
    Run("--zero 1 --save", step_scenes("zero1", **STAGE_1_2)),
    Run("--zero 2 --save", step_scenes("zero2", **STAGE_1_2)),
    Run(
        "--zero 3 --save",
        (
            *step_scenes(
                "zero3",
                reduces="__reduce_and_partition_ipg_grads",
                file="deepspeed/runtime/zero/stage3.py",
            ),
            Scene("zero3-zero_gather", "fetch_sub_module", "partitioned_param_coordinator.py"),
        ),
    ),
    Run(
        "--zero 0 --hold user",
        (Scene("zero0-grad_reduce", "allreduce_bucket", "deepspeed/runtime/engine.py"),),
    ),
    Run(
        "--zero 2 --hold user",
        (
            Scene("hang-waiting", "allreduce_bucket", "stage_1_and_2.py"),
            Scene("hang-culprit", "hold", "train.py"),
            Scene(
                "hang-waiting-native", "allreduce_bucket", "stage_1_and_2.py", options=("--native",)
            ),
            Scene("hang-culprit-locals", "hold", "train.py", options=("--locals",)),
            Scene("hang-driver", "get_objects", "ray/_private/worker.py", "python"),
            Scene(
                "hang-controller", "run_forever", "base_events.py", r"ray::TrainController(\.run)?$"
            ),
        ),
    ),
    Run(
        "--zero 3 --hold user",
        (Scene("zero3-hang-waiting", "assert_ints_same_as_other_ranks", "zero/utils.py"),),
    ),
    Run("--zero 1 --hold backward", (Scene("own-backward", "hold", "train.py"),)),
    Run("--zero 2 --hold init", (Scene("new_group", "new_group", "deepspeed/comm/torch.py"),)),
    Run(
        "--zero 2 --hold report",
        (Scene("report", "report", "ray/train/v2/_internal/execution/context.py"),),
    ),
    Run("--zero 2 --hold barrier", (Scene("barrier", "barrier", "distributed_c10d.py"),)),
    Run(
        "--zero 2 --hold data --loaders 1",
        (
            Scene("loader-waits", "_next_data", "torch/utils/data/dataloader.py"),
            Scene("loader-child", "hold", "train.py", child=True),
        ),
    ),
    Run(
        "--zero 2 --compile-ops",
        (Scene("op_compile-lock", "wait", "torch/utils/file_baton.py"),),
        (("TORCH_EXTENSIONS_DIR", "{out}/extensions"),),
    ),
    Run(
        "",
        (
            Scene(
                "init_process_group",
                "_create_c10d_store",
                "torch/distributed/rendezvous.py",
                "ray::exec",
            ),
        ),
        env=(("PYTHONPATH", str(HERE)),),
        hook="train.be_late",
    ),
    Run(
        "--cpus 1000",
        (Scene("controller-resources", "_start_worker_group", "controller.py", "ray::TrainC"),),
    ),
    Run(
        "--zero -1",
        (
            Scene("torch-forward", "forward", "torch/nn/modules/linear.py"),
            Scene("torch-backward", "_engine_run_backward", "torch/autograd/graph.py"),
            Scene("torch-optimizer_step", "_single_tensor_adam", "torch/optim/adam.py"),
        ),
    ),
    Run(
        "--zero 2 --hold user",
        (
            Scene("v1-waiting", "allreduce_bucket", "stage_1_and_2.py"),
            Scene("v1-culprit", "hold", "train.py"),
        ),
        (("RAY_TRAIN_V2_ENABLED", "0"),),
    ),
)


def record(run: Run, client: JobSubmissionClient, wanted: re.Pattern[str]) -> None:
    """Run one job until each of its wanted scenes was seen, then end it."""
    scenes = [scene for scene in run.scenes if wanted.search(scene.name)]
    if not scenes:
        return

    with tempfile.TemporaryDirectory() as out:
        mark = f"golden-{time.time_ns()}"
        # A lock that nobody holds, as a killed build leaves it.
        lock = Path(out, "extensions", "deepspeed_shm_comm", "lock")
        lock.parent.mkdir(parents=True)
        lock.touch()
        env = {name: value.format(out=out) for name, value in run.env}
        client.submit_job(
            entrypoint=f"{sys.executable} {HERE}/train.py --out {out} {run.arguments}",
            submission_id=mark,
            runtime_env={
                "env_vars": {MARK: mark, "DS_ACCELERATOR": "cpu", **env},
                **({"worker_process_setup_hook": run.hook} if run.hook else {}),
            },
        )
        try:
            deadline = time.monotonic() + PATIENCE_S
            while scenes and time.monotonic() < deadline:
                watch(mark, scenes)
                if client.get_job_status(mark).is_terminal():
                    break
        finally:
            client.stop_job(mark)
            while not client.get_job_status(mark).is_terminal():
                time.sleep(0.2)

            # Ray Train's clean-up actors outlive a job where several clusters run.
            for process in marked(mark):
                with contextlib.suppress(psutil.NoSuchProcess):
                    psutil.Process(process.pid).kill()

        for scene in scenes:
            print(f"{scene.name}: not seen", file=sys.stderr)


def watch(mark: str, scenes: list[Scene]) -> None:
    """Look once at each process of the job, and take the scenes that are on now."""
    for process in marked(mark):
        seen = [s for s in scenes if is_of(s, process)]
        for options in {scene.options for scene in seen}:
            text = dump(process.pid, options)
            for scene in [s for s in seen if s.options == options]:
                if text and shows(json.loads(text), scene):
                    (HERE / "pyspy" / f"{scene.name}.json").write_text(scrub(text))
                    scenes.remove(scene)
                    print(f"{scene.name}: {process.name} {process.pid}", flush=True)

    time.sleep(0.05)


class Process(NamedTuple):
    pid: int
    name: str
    is_child: bool


def is_of(scene: Scene, process: Process) -> bool:
    return scene.child == process.is_child and re.match(scene.process, process.name) is not None


def marked(mark: str) -> Iterator[Process]:
    """Yield the processes that were started with our mark in their environment."""
    for process in psutil.process_iter():
        try:
            parent = process.parent()
            is_child = parent is not None and parent.name().startswith("ray::")
            if process.environ().get(MARK) == mark:
                yield Process(process.pid, Path(process.cmdline()[0]).name, is_child)
        except (psutil.Error, IndexError):
            continue


def dump(pid: int, options: tuple[str, ...]) -> str:
    py_spy = Path(sys.executable).with_name("py-spy")
    command = [str(py_spy), "dump", "--json", "--pid", str(pid), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def shows(threads: list[dict[str, Any]], scene: Scene) -> bool:
    for thread in threads:
        frames = thread["frames"][:1] if scene.innermost else thread["frames"]
        for frame in frames:
            name = frame["name"].rpartition(".")[2]
            if name == scene.function and frame["filename"].endswith(scene.file):
                return True

    return False


def scrub(text: str) -> str:
    """Return the dump with this machine's paths replaced by neutral ones, on few lines."""
    paths = sysconfig.get_paths()
    for real, neutral in (
        (f"{HERE}/", "/home/user/"),
        (paths["purelib"], "/opt/venv/lib/python3.11/site-packages"),
        (paths["stdlib"], "/usr/lib/python3.11"),
        (sys.prefix, "/opt/venv"),
        (sys.base_prefix, "/usr"),
    ):
        text = text.replace(real, neutral)

    text = re.sub(r"/tmp/python-build[^/]*", "/usr/src", text)
    text = re.sub(r"/tmp/tmp[a-z0-9_]{8}", "/tmp/out", text)

    threads = [json.dumps(thread, separators=(",", ":")) for thread in json.loads(text)]
    return "[\n" + ",\n".join(threads) + "\n]\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="http://127.0.0.1:8265", help="of Ray's dashboard")
    parser.add_argument("--only", default="", help="regular expression of scene names")
    args = parser.parse_args()
    client = JobSubmissionClient(args.address)
    for run in RUNS:
        record(run, client, re.compile(args.only))


if __name__ == "__main__":
    main()
