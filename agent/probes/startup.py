"""Records the start of a job that was started by `dsray-inspect submit` (stdlib only).

This module is longer than others because it is shipped as one self-contained file: it becomes the
job's `sitecustomize`, where nothing of this package can be imported. Its sections are the record file,
the import hooks and wrappers, and the entry point.

Python runs it first in the driver and in every worker process, and continues without it where it is
missing. It never raises, blocks or starts a thread. It wraps functions of Ray Train and DeepSpeed as
their modules are imported; the first optimizer step removes all wrappers. Times go to one small file
per process, which survives a SIGKILL: a head of fixed length, then one line per start and end.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import functools
import importlib.machinery
import importlib.util
import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

VERSION = 1
GUEST = "dsray_inspect_guest"
"""The name of this module in `sys.modules`; `sitecustomize` may be replaced by the image's own."""
OFF = "DSRAY_INSPECT_DISABLE"
DRIVER = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray's job manager in the driver of a submitted job."""
FOLDERS = ("/dev/shm", "/tmp")
PREFIX = "dsray-start"
HEAD_BYTES = 512
MAX_BYTES = 60 * 1024
STALE_S = 600.0
IDENTITY = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE")
SIGNALS = range(7, 25)
"""Real-time signals above SIGRTMIN; the first free one dumps the stacks."""

ENGINE = "deepspeed.runtime.engine"
FUNCTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "ray.train.torch.config": (("_setup_torch_process_group", "rendezvous"),),
    "deepspeed": (("initialize", "initialize"),),
    "deepspeed.comm.comm": (("init_distributed", "init_distributed"),),
}
"""Functions to time, by module: their name and that of their span."""
METHODS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "deepspeed.runtime.config": (("DeepSpeedConfig", "__init__", "config"),),
    "deepspeed.ops.op_builder.builder": (("OpBuilder", "jit_load", "op_compile"),),
    "deepspeed.runtime.zero.partition_parameters": (("Init", "__init__", "zero_init"),),
    ENGINE: (
        ("DeepSpeedEngine", "__init__", "engine"),
        ("DeepSpeedEngine", "_configure_distributed_model", "model"),
        ("DeepSpeedEngine", "_broadcast_model", "broadcast"),
        ("DeepSpeedEngine", "deepspeed_io", "dataloader"),
        ("DeepSpeedEngine", "_configure_optimizer", "optimizer"),
        ("DeepSpeedEngine", "_configure_basic_optimizer", "basic_optimizer"),
        ("DeepSpeedEngine", "_do_optimizer_sanity_check", "optimizer_check"),
        ("DeepSpeedEngine", "_configure_zero_optimizer", "zero_partition"),
        ("DeepSpeedEngine", "_configure_bf16_optimizer", "bf16_optimizer"),
        ("DeepSpeedEngine", "_configure_fp16_optimizer", "fp16_optimizer"),
        ("DeepSpeedEngine", "_configure_lr_scheduler", "lr_scheduler"),
        ("DeepSpeedEngine", "_configure_checkpointing", "checkpoint_engine"),
        ("DeepSpeedEngine", "load_checkpoint", "checkpoint_load"),
    ),
}
IMPORTS = ("deepspeed", "torch._dynamo", "deepspeed.runtime.zero.muon.original_muon")
"""Modules whose import is a span: it is most of the apparent cost of an optimizer."""
RUNNER = "ray.train.v2._internal.execution.worker_group.thread_runner"
CALLBACKS = "ray.train.v2._internal.callbacks.env_callback"
CALLBACK_BASES = "ray.train.v2._internal.execution.callback"
TARGETS = {*FUNCTIONS, *METHODS, *IMPORTS, RUNNER, CALLBACKS}

Patch = tuple[Any, str, Any, Any]
"""Owner, name, original and wrapper."""


class Record:
    """The file of one process; created by the first span, so that most processes have none."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.file: int | None = None
        self.stacks: int | None = None
        self.paths: list[str] = []
        self.head: dict[str, Any] = {}
        self.written = self.lost = 0
        self.numbers = itertools.count(1)
        self.depths = threading.local()
        self.lock = threading.Lock()

    def begin(self, name: str, detail: str | None = None) -> int | None:
        """Record the start of a span; return its number, None if it is not recorded."""
        if not self.is_open():
            return None

        number, depth = next(self.numbers), getattr(self.depths, "depth", 0)
        line = {"i": number, "n": name, "b": time.time_ns(), "d": depth}

        if not self.write({**line, "a": detail} if detail else line):
            return None

        self.depths.depth = depth + 1
        return number

    def end(self, number: int) -> None:
        self.depths.depth = max(0, getattr(self.depths, "depth", 1) - 1)
        self.write({"i": number, "e": time.time_ns()})

    def is_open(self) -> bool:
        """Return whether there is a file, creating it if needed; a forked child has none."""
        if os.getpid() != self.pid:
            return False

        with self.lock:
            return self.file is not None or self.open()

    def open(self) -> bool:
        ticks = start_ticks()
        sweep()

        for folder in FOLDERS:
            path = f"{folder}/{PREFIX}-{self.pid}-{ticks}"

            with contextlib.suppress(OSError):
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                self.file = os.open(path, flags, 0o600)
                self.paths.append(path)
                self.stacks = os.open(f"{path}-stacks", flags | os.O_APPEND, 0o600)
                self.paths.append(f"{path}-stacks")
                break

        if self.file is None:
            return False

        job = os.environ.get("RAY_JOB_ID") or guarded(job_of_driver)()
        number = self.answer_a_signal()
        self.head = {"v": VERSION, "pid": self.pid, "job": job, "signal": number}
        self.written = HEAD_BYTES
        self.write_head()
        atexit.register(guarded(self.remove))
        return True

    def answer_a_signal(self) -> int | None:
        """Let an unused signal dump all stacks, which needs neither the GIL nor ptrace."""
        caught = caught_signals()
        free = (signal.SIGRTMIN + one for one in SIGNALS)
        number = next((one for one in free if not caught >> (one - 1) & 1), None)

        if number is None or self.stacks is None:
            return None

        faulthandler.register(number, file=self.stacks, all_threads=True, chain=False)
        return int(number)

    def write(self, line: dict[str, Any]) -> bool:
        text = json.dumps(line, separators=(",", ":")).encode() + b"\n"

        with self.lock:
            if self.file is None or self.written + len(text) > MAX_BYTES:
                self.lost += 1
                return False

            at, self.written = self.written, self.written + len(text)
            os.pwrite(self.file, text, at)
            return True

    def write_head(self) -> None:
        if self.file is not None:
            head = {**self.head, "lost": self.lost}
            text = json.dumps(head, separators=(",", ":")).encode()
            os.pwrite(self.file, text[: HEAD_BYTES - 1].ljust(HEAD_BYTES - 1) + b"\n", 0)

    def record_rank(self) -> None:
        """Record the process's ranks, for readers that it cannot answer later."""
        self.head["identity"] = {name: os.environ[name] for name in IDENTITY if name in os.environ}
        self.write_head()

    def remove(self) -> None:
        """Remove the files and the signal handler; only the process that created them may."""
        if os.getpid() != self.pid or self.file is None:
            return

        if self.head.get("signal") is not None:
            faulthandler.unregister(self.head["signal"])

        for path in self.paths:
            with contextlib.suppress(OSError):
                os.unlink(path)

        if DRIVER in os.environ and self.head.get("job"):
            remove_of_job(self.head["job"])

        os.close(self.file)
        self.file = None
        self.paths = []

        if self.stacks is not None:
            os.close(self.stacks)
            self.stacks = None


def guarded(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return the call with all errors suppressed: the job comes first."""

    def quiet(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except Exception:
            return None

    return quiet


record = Record()
begin, end = guarded(record.begin), guarded(record.end)
patches: list[Patch] = []
step_begun: list[int] = []


def start_ticks() -> int:
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as stat:
        return int(stat.read().rpartition(")")[2].split()[19])


def caught_signals() -> int:
    with open("/proc/self/status", encoding="utf-8") as status:
        masks = [line.split()[1] for line in status if line.startswith(("SigCgt:", "SigIgn:"))]

    return functools.reduce(lambda one, other: one | int(other, 16), masks, 0)


def job_of_driver() -> Any:
    """Return the Ray job id of this driver."""
    return sys.modules["ray"].get_runtime_context().get_job_id()


def own_files() -> list[tuple[str, str]]:
    """Return the record files of this user's processes, each with the pid of its creator."""
    found = []

    for folder in FOLDERS:
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                path, parts = f"{folder}/{name}", name.split("-")

                if name.startswith(f"{PREFIX}-") and len(parts) > 3 and is_own(path):
                    found.append((path, parts[2]))

    return found


def is_own(path: str) -> bool:
    try:
        return os.lstat(path).st_uid == os.getuid()
    except OSError:
        return False


def sweep() -> None:
    """Remove old files of killed processes."""
    for path, pid in own_files():
        with contextlib.suppress(OSError):
            is_old = time.time() - os.lstat(path).st_mtime > STALE_S

            if is_old and not os.path.exists(f"/proc/{pid}"):
                os.unlink(path)


def remove_of_job(job: str) -> None:
    """Remove a job's files on this node when its driver ends: killed processes cannot do so."""
    ours = set()

    for path, pid in own_files():
        with contextlib.suppress(OSError, ValueError), open(path, encoding="utf-8") as file:
            head = json.loads(file.read(HEAD_BYTES)) if not path.endswith("-stacks") else {}
            ours |= {pid} if head.get("job") == job else set()

    for path, pid in own_files():
        if pid in ours:
            with contextlib.suppress(OSError):
                os.unlink(path)


# Import hooks and wrappers


class Finder:
    """A meta path finder that wraps the loaders of the modules in TARGETS; finds nothing itself."""

    def __init__(self) -> None:
        self.busy: set[str] = set()

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> Any:
        if name not in TARGETS or name in self.busy:
            return None

        self.busy.add(name)

        try:
            spec = importlib.util.find_spec(name)

            if spec is not None and hasattr(spec.loader, "exec_module"):
                spec.loader = Loader(spec.loader)  # type: ignore[assignment]

            return spec
        except Exception:
            return None
        finally:
            self.busy.discard(name)


class Loader:
    """Takes the place of another loader while that executes its module."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def create_module(self, spec: Any) -> Any:
        return self.loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        name = module.__name__
        guarded(self.step_back)(module)
        number = begin(f"import {name}") if name in IMPORTS else None

        try:
            self.loader.exec_module(module)
        finally:
            if number is not None:
                end(number)

        guarded(time_module)(module)

    def step_back(self, module: Any) -> None:
        module.__spec__.loader = self.loader
        module.__loader__ = self.loader


finder = Finder()


def time_module(module: Any) -> None:
    """Wrap functions of a module that was just imported; missing ones are skipped."""
    name = module.__name__

    for function, span in FUNCTIONS.get(name, ()):
        after = begin_first_step if span == "initialize" else None
        put(module, function, timed(getattr(module, function, None), span, after=after))

    for owner, method, span in METHODS.get(name, ()):
        found = vars(getattr(module, owner, object)).get(method)
        put(getattr(module, owner, None), method, timed(found, span, detail=op_name))

    if name == ENGINE:
        engine = getattr(module, "DeepSpeedEngine", None)
        put(engine, "_take_model_step", stepping(vars(engine).get("_take_model_step")))
    elif name == RUNNER:
        runner = getattr(module, "ThreadRunner", None)
        put(runner, "run", beginning(vars(runner).get("run")))
    elif name == CALLBACKS:
        made = getattr(module, "_initialize_env_callbacks", None)
        put(module, "_initialize_env_callbacks", adding(made))


def put(owner: Any, name: str, wrapper: Any) -> None:
    if owner is not None and wrapper is not None:
        patches.append((owner, name, vars(owner)[name], wrapper))
        setattr(owner, name, wrapper)


def op_name(args: tuple[Any, ...]) -> str | None:
    name = getattr(args[0], "name", None) if args else None
    return name if isinstance(name, str) else None


def timed(
    call: Any,
    span: str,
    *,
    detail: Callable[[tuple[Any, ...]], str | None] | None = None,
    after: Callable[[], None] | None = None,
) -> Any:
    """Return the call wrapped in a span, None if there is no such call."""
    if not callable(call):
        return None

    @functools.wraps(call)
    def inside(*args: Any, **kwargs: Any) -> Any:
        label = guarded(detail)(args) if detail and span == "op_compile" else None
        number = begin(span, label) if patches else None

        try:
            return call(*args, **kwargs)
        finally:
            if number is not None:
                end(number)

                if after is not None:
                    guarded(after)()

    return inside


def begin_first_step() -> None:
    if not step_begun:
        step_begun.append(record.begin("first_step") or 0)


def stepping(call: Any) -> Any:
    """Return the engine's step, wrapped; its first return removes all wrappers."""
    if not callable(call):
        return None

    @functools.wraps(call)
    def inside(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        finally:
            guarded(leave)()

    return inside


def beginning(call: Any) -> Any:
    """Return the start of the training thread, wrapped; its span ends with the process."""
    if not callable(call):
        return None

    @functools.wraps(call)
    def inside(*args: Any, **kwargs: Any) -> Any:
        begin("train_func")
        guarded(record.record_rank)()
        return call(*args, **kwargs)

    return inside


def adding(call: Any) -> Any:
    """Return the maker of Ray Train's callbacks, wrapped: appends a callback and records `fit`."""
    if not callable(call):
        return None

    @functools.wraps(call)
    def inside(*args: Any, **kwargs: Any) -> Any:
        found = call(*args, **kwargs)
        begin("fit")
        ours = guarded(make_callback)()
        return [*found, ours] if ours is not None else found

    return inside


def leave() -> None:
    """Remove all wrappers, except where other code patched on top of them."""
    if step_begun and step_begun[0]:
        record.end(step_begun[0])

    restored, patches[:] = list(patches), []

    for owner, name, original, wrapper in reversed(restored):
        if vars(owner).get(name) is wrapper:
            setattr(owner, name, original)

    by_wrapper = {id(wrapper): original for _, _, original, wrapper in restored}

    for module in [one for name, one in sys.modules.items() if name.startswith("deepspeed")]:
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if id(value) in by_wrapper:
                setattr(module, name, by_wrapper[id(value)])

    with contextlib.suppress(ValueError):
        sys.meta_path.remove(finder)


def make_callback() -> Any:
    """Return a callback for Ray Train's hooks; each hook suppresses its errors.

    The class is local, so that it is pickled by value: the controller and the ranks need no module of
    this package to unpickle it. It records only where this module is loaded.
    """
    bases = importlib.import_module(CALLBACK_BASES)

    class StartCallback(
        bases.ControllerCallback,  # type: ignore[misc, name-defined]
        bases.WorkerGroupCallback,  # type: ignore[misc, name-defined]
        bases.WorkerCallback,  # type: ignore[misc, name-defined]
    ):
        def _note(self, call: str, *args: Any) -> Any:
            import sys

            try:
                return getattr(sys.modules["dsray_inspect_guest"], call)(*args)
            except Exception:
                return None

        def after_controller_start(self, *_: Any, **__: Any) -> None:
            self._note("begin", "controller")

        def before_worker_group_start(self, *_: Any, **__: Any) -> None:
            self._note("begin", "group_asked")

        def after_worker_group_training_start(self, *_: Any, **__: Any) -> None:
            self._note("begin", "training")

        def after_controller_finish(self, *_: Any, **__: Any) -> None:
            self._note("forget")

        def before_controller_abort(self, *_: Any, **__: Any) -> None:
            self._note("forget")

        def before_worker_shutdown(self) -> None:
            self._note("forget")

    return StartCallback()


forget = guarded(record.remove)


# The entry point


def take_place() -> None:
    """Install the import hook, if this is the driver of a submitted job or a Ray worker."""
    if os.environ.get(OFF) or not is_of_ray():
        return

    sys.modules[GUEST] = sys.modules[__name__]
    sys.meta_path.insert(0, finder)


def is_of_ray() -> bool:
    is_worker = any(word.endswith("default_worker.py") for word in sys.orig_argv)
    return is_worker or DRIVER in os.environ


def image_sitecustomize() -> Any:
    """Return the `sitecustomize` that Python would have run instead, if there is one."""
    here = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    path = [entry for entry in sys.path if os.path.realpath(entry) != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", path)
    return spec if spec is not None and spec.loader is not None else None


def run_image_sitecustomize() -> None:
    """Run the image's own `sitecustomize`; its errors propagate as usual."""
    spec = guarded(image_sitecustomize)()

    if spec is not None:
        sys.modules["sitecustomize"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["sitecustomize"])


if __name__ == "sitecustomize":
    guarded(take_place)()
    run_image_sitecustomize()
