"""One distinct stack and what it says of whoever is in it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from dsray_inspect.agent.compat import deepspeed, ray, torch
from dsray_inspect.agent.model import Frame, Function, Phase
from dsray_inspect.agent.remote.coroutines import RUN as LOOP_CALL
from dsray_inspect.agent.stacks.frame_rules import Mark, mark_of, path_of

# The first of these that any frame is marked with names the phase, wherever the frame stands.
_SPECIFIC: tuple[Phase, ...] = (
    "op_compile",
    "init_process_group",
    "deepspeed_init",
    "data",
    "checkpoint",
    "zero_gather",
    "grad_reduce",
    "report",
)
_STEP: tuple[Phase, ...] = ("forward", "backward", "optimizer_step")
CHILD_WAITS = (
    ("/subprocess.py", ("_wait", "_communicate")),
    ("multiprocessing/popen_fork.py", ("poll", "wait")),
)
"""Where the standard library waits for a child process."""
_NAMELESS = frozenset(["<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>", "<lambda>"])


class StackInfo:
    """Labelled frames, outermost first. Each question about them is worked out once.

    A `StackTable` makes equal stacks one object: what holds for it holds for all the ranks that
    are in it, and it is compared and hashed by identity.
    """

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.frames = tuple(frames)

    @cached_property
    def phase(self) -> Phase:
        """What these frames alone say; "unknown" where they say nothing."""
        marks: list[Mark | None] = [mark_of(frame) for frame in self.frames]

        for phase in _SPECIFIC:
            if phase in marks:
                return phase

        for mark in marks:
            if mark in _STEP:
                return mark

        if "collective" in marks:
            return "collective"

        if "pipeline" in marks:
            return "forward"

        return "user" if any(frame.layer == "user" for frame in self.frames) else "unknown"

    @cached_property
    def user_function(self) -> Function | None:
        """The innermost function of the user's code, with the line it is at."""
        mine = [frame for frame in self.frames if frame.layer == "user"]

        if not mine:
            return None

        inner = mine[-1]
        named = (f for f in reversed(mine) if f.file == inner.file and f.name not in _NAMELESS)
        return Function(name=next(named, inner).name, file=inner.file, line=inner.line)

    @cached_property
    def in_collective(self) -> bool:
        """Whether the innermost call is a collective operation (a rendezvous is none)."""
        for frame in reversed(self.frames):
            if frame.layer == "native":
                if frame.name.startswith(torch.NATIVE_COLLECTIVES):
                    return True
            elif (
                frame.layer not in ("python", "library")
                and path_of(frame) != deepspeed.WAIT_WRAPPER_FILE
            ):
                mark = mark_of(frame)
                waits = frame.name == "wait" and mark == "zero_gather"
                return waits or mark == "collective" or path_of(frame) == deepspeed.PIPE_P2P_FILE

        return False

    @cached_property
    def object_wait(self) -> Frame | None:
        """The frame of `ray.get` or `ray.wait` that it is in."""
        return next(
            (
                frame
                for frame in reversed(self.frames)
                if (frame.name.rpartition(".")[2], path_of(frame)) in ray.GETS
            ),
            None,
        )

    @cached_property
    def in_ray_data(self) -> bool:
        """Whether it reads from Ray Data or asks for its shard of a dataset."""
        return self.asks_for_shard or any(
            path_of(frame).startswith(ray.DATA_FOLDER) for frame in self.frames
        )

    @cached_property
    def asks_for_shard(self) -> bool:
        """Whether it waits for the first answer to `ray.train.get_dataset_shard`."""
        return self.holds(*ray.ASK_FOR_SHARD)

    @cached_property
    def awaited(self) -> tuple[Frame, ...]:
        """The user's coroutines that an idle event loop waits for, outermost first."""
        runs = [
            place
            for place, frame in enumerate(self.frames)
            if frame.name == LOOP_CALL[0] and frame.file.endswith(LOOP_CALL[1])
        ]
        inside = self.frames[runs[-1] + 1 :] if runs else ()
        is_idle = bool(inside) and inside[0].name != "run_forever"
        return tuple(frame for frame in inside if frame.layer == "user") if is_idle else ()

    @cached_property
    def child_wait(self) -> bool:
        """Whether it waits for a child process, to end or to say something."""
        return any(
            frame.layer == "python" and frame.file.endswith(path) and frame.name in names
            for frame in self.frames
            for path, names in CHILD_WAITS
        )

    @cached_property
    def lock_wait(self) -> bool:
        """Whether it waits for a lock of torch's extension compiler."""
        return any(
            frame.name == "wait" and frame.file.endswith(torch.BATON_FILE) for frame in self.frames
        )

    @cached_property
    def ends(self) -> bool:
        """Whether it is in what Ray Train runs once the training function is over."""
        return any((frame.name, path_of(frame)) in ray.ENDINGS for frame in self.frames)

    @cached_property
    def imports(self) -> bool:
        """Whether it imports a module."""
        return any(frame.name == "_find_and_load" for frame in self.frames)

    @cached_property
    def shown(self) -> tuple[object, ...]:
        """What a reader can tell apart; qualified names are not read by every tool."""
        return tuple([(f.name, f.file, f.line, f.layer, f.locals) for f in self.frames])

    def holds(self, name: str, path: str) -> bool:
        """Return whether a function of this name in this file is on the stack."""
        return any(frame.name == name and path_of(frame) == path for frame in self.frames)


NO_STACK = StackInfo(())
