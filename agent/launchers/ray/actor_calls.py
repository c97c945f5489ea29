"""Rungs 1 and 2: run a small read inside another job's actors.

Ray has no public way to a handle of an unnamed actor of another job, so one is built from
the actor table's record (`ray/includes/actor_handle`, verified on 2.60). The handle is weak:
it keeps nothing alive. What is sent is `agent.remote` and `agent.probes`, pickled by value: the workers
need not have dsray-inspect installed. Private API of Ray is used in this module only.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import pickle
import signal
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dsray_inspect.agent.compat import ray as shelf
from dsray_inspect.agent.errors import ClusterUnreachable
from dsray_inspect.agent.handles import ProcessHandle, RunHandle
from dsray_inspect.agent.launchers.base import CallFailed, Part
from dsray_inspect.agent.launchers.ray.connect import ray_kept_quiet, version_error, within
from dsray_inspect.agent.launchers.ray.train import adapter_of
from dsray_inspect.agent.remote.reads import run
from dsray_inspect.agent.unavailable import Unavailable

NAMESPACE = "dsray-inspect"
CLOSE_S = 5.0


class ActorCalls:
    """Our own connection to the cluster as a driver; one owner, closed by `close`."""

    def __init__(self, address: str) -> None:
        self._ray = start_driver(address)
        self._handles: dict[str, tuple[bytes, Any]] = {}
        """By actor id: the record that a handle was made from, and the handle."""

    def close(self) -> None:
        """Leave the cluster; where its GCS is silent, Ray would wait for that without end."""
        within(CLOSE_S, self._ray.shutdown)

    def node_id(self) -> str:
        """Return the node this process is on."""
        return str(self._ray.get_runtime_context().get_node_id())

    def controller_parts(self, run: RunHandle) -> Sequence[Part] | Unavailable:
        """Return what is to run in a run's controller, or why it has none to ask."""
        adapter = adapter_of(run.generation)
        return adapter.controller_parts or Unavailable(
            reason="not_running" if run.controller is None else "no_door",
            detail=adapter.without_controller,
        )

    def send(self, process: ProcessHandle, parts: Sequence[Part], request: dict[str, Any]) -> Any:
        """Ask an actor to run the parts of a read; returns at once with a reference.

        `request` must hold `until`; see `remote.reads`.

        Raises:
            CallFailed: this Ray does not let us make a handle.
        """
        return self._handle(process).__ray_call__.remote(
            Packed(packed(run)), [(part.__name__, squeezed(part)) for part in parts], request
        )

    def _handle(self, process: ProcessHandle) -> Any:
        """Return the handle of an actor, made once for each record of it."""
        record, handle = self._handles.get(process.actor_id, (b"", None))

        if handle is None or record != process.raw:
            try:
                handle = forge_handle(process)
            except Exception as error:
                raise CallFailed(
                    f"this Ray gives no handle: {type(error).__name__}: {error}"
                ) from error

            self._handles[process.actor_id] = process.raw, handle

        return handle

    def start_reader(self, node_id: str, reader_class: type) -> Any:
        """Start an actor of ours on a node; it ends with this process."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        pinned = NodeAffinitySchedulingStrategy(node_id, soft=False)
        remote = self._ray.remote(num_cpus=0, max_restarts=0)(reader_class)
        return remote.options(scheduling_strategy=pinned).remote()

    def ask_reader(self, reader: Any, method: str, request: dict[str, Any]) -> Any:
        return getattr(reader, method).remote(request)

    def wait(self, references: list[Any], timeout_s: float) -> list[Any]:
        """Return those references that are answered within `timeout_s`."""
        if not references:
            return []

        done, _ = self._ray.wait(
            references, num_returns=len(references), timeout=max(0.0, timeout_s), fetch_local=True
        )
        return list(done)

    def answers(self, references: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Return the answer or `CallFailed` of those that came within `timeout_s`."""
        done = set(self.wait(list(references.values()), timeout_s))
        return {key: self.answer(ref) for key, ref in references.items() if ref in done}

    def answer(self, reference: Any) -> Any:
        """Return an answer that is there, or `CallFailed`."""
        from ray import exceptions

        try:
            answer = self._ray.get(reference, timeout=5)
        except exceptions.RayActorError as error:
            return CallFailed(f"the actor has died: {first_line(error)}", dead=True)
        except exceptions.RayTaskError as error:
            return CallFailed(f"the read failed inside it: {first_line(error.cause or error)}")
        except exceptions.RayError as error:
            return CallFailed(f"{type(error).__name__}: {first_line(error)}")

        late = isinstance(answer, dict) and answer.get("late")
        return CallFailed("its answer came too late") if late else answer


class Packed:
    """A function that was pickled by value once: what is pickled for each call are its bytes."""

    def __init__(self, code: bytes) -> None:
        self._code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (self._code,)


@functools.cache
def packed(part: Part) -> bytes:
    """Return a part of a read pickled by value; `start_driver` has told how."""
    from ray import cloudpickle

    return bytes(cloudpickle.dumps(part))


@functools.cache
def squeezed(part: Part) -> bytes:
    """Return a part of a read as `remote.reads` takes it.

    Arguments above 100 kB would go through the object store, which takes longer than the read.
    """
    return zlib.compress(packed(part))


def first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


def start_driver(address: str) -> Any:
    """Connect as a driver of our own namespace; nothing is logged or forwarded.

    Raises:
        VersionUnsupported: the cluster's Ray or Python is another.
        ClusterUnreachable: the raylet of this machine cannot be reached.
    """
    import ray
    from ray import cloudpickle

    from dsray_inspect.agent import compat, probes, remote

    cloudpickle.register_pickle_by_value(compat)
    cloudpickle.register_pickle_by_value(remote)
    cloudpickle.register_pickle_by_value(probes)
    silence(ray)

    try:
        with signals_kept():
            ray.init(
                address=address,
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
            )
    except Exception as error:
        mismatch = version_error(error)

        if mismatch is not None:
            raise mismatch from error

        raise ClusterUnreachable(
            f"The GCS at {address} answers, but this machine cannot join the cluster: "
            f"{first_line(error)}",
            help_text="Run dsray-inspect on a node of the cluster, for example its head.",
        ) from error

    return ray


@contextlib.contextmanager
def signals_kept() -> Iterator[None]:
    """Let Ctrl-C end the process at once while Ray joins, and put our SIGTERM back after that.

    Ray's C++ side holds the GIL for as long as the raylet lets it wait: no handler of Python's
    would run. And it takes SIGTERM, to print its own stack at one.
    """
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ours = threading.current_thread() is threading.main_thread() and None not in kept.values()

    try:
        if ours and kept[signal.SIGINT] is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

        yield
    except SystemExit:
        raise KeyboardInterrupt from None  # what Ray's own handler makes of SIGTERM meanwhile
    finally:
        for number, handler in kept.items() if ours else ():
            signal.signal(number, handler)


def silence(ray: Any) -> None:
    """Keep Ray from printing the cluster's warnings, and those of a machine without a network.

    `log_to_driver` stops the workers' output only.
    """
    worker, services = ray._private.worker, ray._private.services

    if hasattr(worker, shelf.PRINT_FUNCTION[0]):
        worker.print_to_stdstream = lambda *_, **__: None

    find_own_ip = getattr(services, shelf.OWN_IP_FUNCTION, None)

    if find_own_ip is not None and not hasattr(find_own_ip, "__wrapped__"):
        services.node_ip_address_from_perspective = quietly(find_own_ip)


def quietly(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def quiet(*args: Any) -> Any:
        with ray_kept_quiet():
            return call(*args)

    return quiet


class AnyActor:
    """Stands for any actor class: all that is called is `__ray_call__`."""

    def __ray_call__(self, read: Any, *args: Any) -> Any:
        raise NotImplementedError


def forge_handle(actor: ProcessHandle) -> Any:
    """Return a weak handle made from the actor table's record."""
    import ray
    from ray._raylet import PythonFunctionDescriptor
    from ray.core.generated import common_pb2, core_worker_pb2, gcs_pb2

    row = gcs_pb2.ActorTableData.FromString(actor.raw)
    handle = core_worker_pb2.ActorHandle(
        actor_id=row.actor_id,
        owner_id=row.parent_id,
        creation_job_id=row.job_id,
        actor_language=common_pb2.PYTHON,
        ray_namespace=row.ray_namespace,
        name=row.name,
        max_pending_calls=-1,
        enable_task_events=False,
    )
    handle.owner_address.CopyFrom(row.owner_address)
    handle.actor_creation_task_function_descriptor.CopyFrom(row.function_descriptor)
    worker: Any = ray._private.worker.global_worker
    python = row.function_descriptor.python_function_descriptor
    descriptor = PythonFunctionDescriptor(
        python.module_name, python.function_name, python.class_name, python.function_hash
    )
    # Without this entry Ray would import the actor's class here, ray.train and all: seconds.
    worker.function_actor_manager._loaded_actor_classes.setdefault(descriptor.function_id, AnyActor)
    return worker.core_worker.deserialize_and_register_actor_handle(
        handle.SerializeToString(), None, True
    )
