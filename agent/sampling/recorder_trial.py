"""Finds out how one build of torch lays out its flight recorder; run as a script, in that torch.

The recorder is a vector of records of one size, and torch tells how its fields are ordered to
nobody. This process imports torch, makes a process group with a fork of itself, runs collectives
that differ in every field, and asks torch for its own dump of them. Each field is then found in
this process's memory by its values: an offset counts when it holds the right value in every record,
and when no other does. What is found holds for every process with the same library.

It is longer than other modules because it is sent and run as one self-contained script.

    python recorder_trial.py FILE

Writes a JSON object to FILE, where it can, and prints it: `stride`, `columns` (offset of each field in
a record), `dtypes` (names by torch's number for them), and where the vector's three pointers lie:
`at`, relative to the library's load address, and `inside`, relative to what is pointed to there
(null where the vector itself lies at `at`); or `error`, why it cannot be told, and whether that
`is_final`. An error that is not final is not written. Whoever starts it may end before it does: the
next one finds FILE. Of several that are started at once, one does the work.

Standard library and torch only. Layouts: `std::string`, `std::vector` (libstdc++),
`c10::SmallVector`; little endian.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import fcntl
import json
import os
import pickle
import re
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

LIMIT_S = 120
PR_SET_PDEATHSIG = 1
SETTLED_S = 20.0
LIBRARY = "libtorch_cpu.so"
LONG_NAME = "a description that does not fit into the string itself"
MOST_OBJECT_BYTES = 4096
MOST_STRIDE_BYTES = 4096
TIMEOUTS_S = (1234, 777)
DTYPES = "float32 float64 float16 bfloat16 int64 int32 uint8 int8".split()
RECORD = "time_created_ns"

Entry = Mapping[str, Any]


class Unknown(Exception):
    """Raised when the layout cannot be told; the text says why."""


class Field(NamedTuple):
    """How a field is found in a record."""

    fits: Callable[[int], bool]
    """Whether an offset holds the right value in every record."""
    step: int
    """Offsets are multiples of it."""
    width: int


class Memory:
    """This process's own memory, in which any address may be asked for."""

    def __init__(self) -> None:
        self._file = os.open("/proc/self/mem", os.O_RDONLY)

    def read(self, address: int, size: int) -> bytes:
        """Return what lies at an address, less or nothing where it is not mapped."""
        try:
            return os.pread(self._file, size, address) if 0 < address < 1 << 47 else b""
        except OSError:
            return b""

    def u64(self, address: int) -> int:
        data = self.read(address, 8)
        return int(struct.unpack("<Q", data)[0]) if len(data) == 8 else 0


def main() -> None:
    signal.alarm(LIMIT_S)
    os.environ.update(GLOO_SOCKET_IFNAME="lo", TORCH_FR_BUFFER_SIZE="256", OMP_NUM_THREADS="1")
    path = sys.argv[1]

    with alone(os.path.dirname(path)):
        text = written(path) or json.dumps(findings(path))

    with contextlib.suppress(BrokenPipeError):  # whoever started it did not wait
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    os._exit(0)


@contextlib.contextmanager
def alone(folder: str) -> Iterator[None]:
    """Hold the lock on a folder, which others who write there wait for; none where there is none."""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:
        yield
        return

    yield
    os.close(lock)


def written(path: str) -> str:
    """Return what another one has written there, "" for nothing that could be read."""
    try:
        with open(path) as file:
            return json.dumps(json.load(file))
    except (OSError, ValueError):
        return ""


def findings(path: str) -> dict[str, Any]:
    """Return the layout, or why there is none; write it down where that can be done."""
    try:
        found: dict[str, Any] = layout()
    except Unknown as why:
        found = {"error": str(why), "is_final": True}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:300]}

    with contextlib.suppress(OSError):
        beside = f"{path}.{os.getpid()}"

        with open(beside, "w") as file:
            json.dump(found, file)

        os.replace(beside, path)

    return found


def layout() -> dict[str, Any]:
    """Return the layout; see the head of this module."""
    # A file in memory to meet in, which both inherit: nothing is left where one of them is killed.
    meeting = f"/proc/self/fd/{os.memfd_create('dsray-inspect')}"
    other = os.fork()

    if other == 0:
        signal.alarm(LIMIT_S)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        run_collectives(meeting, rank=1)
        signal.pause()

    try:
        pending = run_collectives(meeting, rank=0)
        return layout_of(settled_dump())
    finally:
        os.kill(other, signal.SIGKILL)
        pending = None  # noqa: F841


def run_collectives(meeting: str, *, rank: int) -> Any:
    """Run collectives of which no two are alike; rank 0 is left with one that does not end."""
    import torch
    import torch._C._distributed_c10d
    import torch.distributed as dist

    dist.init_process_group(
        "gloo",
        store=torch._C._distributed_c10d.FileStore(meeting, 2),
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=TIMEOUTS_S[0]),
    )
    more: dict[str, Any] = (
        {"group_desc": LONG_NAME} if "group_desc" in dist.new_group.__code__.co_varnames else {}
    )
    second = dist.new_group([0, 1], timeout=datetime.timedelta(seconds=TIMEOUTS_S[1]), **more)

    for number, name in enumerate(DTYPES):
        dist.broadcast(torch.zeros(number + 2, 3, dtype=getattr(torch, name)), 0)

    for number in (13, 17, 21):
        dist.all_gather([torch.zeros(number) for _ in range(2)], torch.zeros(number), group=second)

    # Not recorded with gloo, but counted as an operation: the two counts of a group differ then.
    dist.send(torch.zeros(1), 1) if rank == 0 else dist.recv(torch.zeros(1), 0)

    # Here it has an input and no output, which are alike elsewhere.
    made = [torch.zeros(33) for _ in range(2)] if rank == 1 else None
    dist.gather(torch.zeros(33), made, dst=1)

    for number in (23, 29):
        dist.all_reduce(torch.zeros(2, 3, number))

    dist.broadcast(torch.zeros(31), 0, group=second)
    return dist.all_reduce(torch.zeros(37), async_op=True) if rank == 0 else None


def settled_dump() -> list[Entry]:
    """Return the dump once torch knows of all collectives but the last that they have ended."""
    deadline = time.monotonic() + SETTLED_S

    while time.monotonic() < deadline:
        entries = dump()
        retired = [bool(entry["retired"]) for entry in entries]

        if all(retired[:-1]) and not retired[-1]:
            return entries

        time.sleep(0.02)

    raise Unknown("this torch does not tell which collectives have ended")


def dump() -> list[Entry]:
    """Return what torch itself tells of its recorder."""
    from torch._C import _distributed_c10d as module

    for name in ("_dump_fr_trace", "_dump_nccl_trace"):
        call = getattr(module, name, None)
        entries = pickle.loads(call(True, False, False)).get("entries") if call else None

        if entries:
            return list(entries)

    raise Unknown("this torch records no collectives of gloo, by which the layout is found")


def layout_of(entries: Sequence[Entry]) -> dict[str, Any]:
    memory = Memory()
    regions = list(writable())
    vector_at, start, stride = find_vector(memory, regions, entries)
    starts = [start + number * stride for number in range(len(entries))]
    columns = find_columns(memory, starts, stride, entries)
    at, inside = find_way(memory, regions, vector_at)
    return {
        "stride": stride,
        "columns": columns,
        "dtypes": dtypes_of(memory, starts, columns, entries),
        "at": at,
        "inside": inside,
    }


def writable() -> Iterator[tuple[int, int, str]]:
    """Yield begin, end and path of all that this process may write to."""
    with open("/proc/self/maps") as lines:
        for line in lines:
            fields = line.split()
            begin, end = (int(text, 16) for text in fields[0].split("-"))

            if fields[1].startswith("rw") and not fields[-1].startswith("[v"):
                yield begin, end, fields[5] if len(fields) > 5 else ""


def find_vector(
    memory: Memory, regions: Sequence[tuple[int, int, str]], entries: Sequence[Entry]
) -> tuple[int, int, int]:
    """Return where the vector's pointers lie, where its first record does, and a record's size."""
    chunks = [(begin, memory.read(begin, end - begin)) for begin, end, _ in regions]
    times = [int(entry[RECORD]) for entry in entries]
    found = [
        (vector_at, start, stride)
        for time_at in find_all(chunks, struct.pack("<q", times[0]))
        for stride in strides(memory, time_at, times)
        for start in starts_of(memory, time_at, stride, len(entries))
        for vector_at in find_all(chunks, struct.pack("<QQ", start, start + len(entries) * stride))
    ]

    if len(found) != 1:
        raise Unknown(f"{len(found)} places of the memory look like the recorder")

    return found[0]


def strides(memory: Memory, time_at: int, times: Sequence[int]) -> Iterator[int]:
    """Yield the sizes of a record at which all times follow the first one in memory."""
    second = memory.read(time_at, MOST_STRIDE_BYTES + 8).find(struct.pack("<q", times[1]))

    if second > 0 and all(
        memory.u64(time_at + number * second) == time for number, time in enumerate(times)
    ):
        yield second


def starts_of(memory: Memory, time_at: int, stride: int, count: int) -> list[int]:
    """Return where the first record may begin, if its time lies at `time_at`."""
    possible = range((time_at - stride + 23) // 16 * 16, time_at + 1, 16)
    given_out = [at for at in possible if is_given_out(memory, at, at + count * stride)]
    return given_out or list(possible)


def find_all(chunks: Sequence[tuple[int, bytes]], pattern: bytes) -> Iterator[int]:
    for begin, data in chunks:
        for match in re.finditer(re.escape(pattern), data):
            if (begin + match.start()) % 8 == 0:
                yield begin + match.start()


def find_columns(
    memory: Memory, starts: Sequence[int], stride: int, entries: Sequence[Entry]
) -> dict[str, int]:
    """Return the offset of each field, from the start of a record.

    Raises:
        Unknown: a field is found nowhere, or in several places.
    """
    records = [memory.read(start, stride) for start in starts]
    columns = {}

    for name, field in fields_of(memory, records, entries).items():
        offsets = [at for at in range(0, stride - field.width + 1, field.step) if field.fits(at)]

        if len(offsets) != 1:
            raise Unknown(f"{name} is found in {len(offsets)} places of a record")

        columns[name] = offsets[0]

    return columns


def fields_of(
    memory: Memory, records: Sequence[bytes], entries: Sequence[Entry]
) -> dict[str, Field]:
    """Return how each field is known by the values that torch dumped, one a record."""
    groups = [entry["process_group"] for entry in entries]

    def field(
        read: Callable[[bytes, int], object], values: Sequence[object], step: int, width: int
    ) -> Field:
        def fits(at: int) -> bool:
            return all(
                read(record, at) == value for record, value in zip(records, values, strict=True)
            )

        return Field(fits, step, width)

    def number(key: str) -> Field:
        values = [int(entry[key]) for entry in entries]
        return field(lambda record, at: struct.unpack_from("<q", record, at)[0], values, 8, 8)

    def text(values: Sequence[str]) -> Field:
        encoded = [value.encode() for value in values]
        return field(lambda record, at: string_at(memory, record, at), encoded, 8, 16)

    def numbers(values: Sequence[Sequence[int]]) -> Field:
        return field(lambda record, at: small_vector(memory, record, at), values, 8, 16)

    dims = [[len(size) for size in entry["input_sizes"]] for entry in entries]
    retired = [int(entry["retired"]) for entry in entries]
    return {
        "record_id": number("record_id"),
        "pg_id": number("pg_id"),
        "group": text([str(group[0]) for group in groups]),
        "description": text([str(group[1]) for group in groups]),
        "sequence": number("collective_seq_id"),
        "operation": text([entry["profiling_name"] for entry in entries]),
        "created_ns": number("time_created_ns"),
        "timeout_ms": number("timeout_ms"),
        "retired": field(lambda record, at: record[at], retired, 1, 1),
        "dims": numbers(dims),
        "sizes": numbers([flat_sizes(entry) for entry in entries]),
        "dtypes": Field(lambda at: tells_dtypes(memory, records, at, entries), 8, 16),
    }


def string_at(memory: Memory, record: bytes, at: int) -> bytes | None:
    """Return the text of a `std::string`, wherever it keeps it; None where there is none."""
    pointer, length = struct.unpack_from("<QQ", record, at)
    return memory.read(pointer, length) if 0 < length <= 256 else None


def small_vector(memory: Memory, record: bytes, at: int) -> list[int] | None:
    """Return the numbers of a `c10::SmallVector<int64_t>`; None where there is none."""
    pointer, count, capacity = struct.unpack_from("<QII", record, at)

    if not count <= capacity <= 1024 or not pointer:
        return None

    data = memory.read(pointer, count * 8)
    return list(struct.unpack(f"<{count}q", data)) if len(data) == count * 8 else None


def vector(memory: Memory, record: bytes, at: int) -> bytes:
    """Return the bytes of a `std::vector` of one-byte numbers."""
    begin, end = struct.unpack_from("<QQ", record, at)
    return memory.read(begin, end - begin) if begin and 0 < end - begin <= 64 else b""


def flat_sizes(entry: Entry) -> list[int]:
    return [
        int(number) for size in (*entry["input_sizes"], *entry["output_sizes"]) for number in size
    ]


def tells_dtypes(
    memory: Memory, records: Sequence[bytes], at: int, entries: Sequence[Entry]
) -> bool:
    """Return whether there is a number per input at an offset, each of which stands for one type."""
    names: dict[int, str] = {}

    for record, entry in zip(records, entries, strict=True):
        numbers, types = vector(memory, record, at), entry["input_dtypes"]

        if len(numbers) != len(types):
            return False

        for number, name in zip(numbers, types, strict=True):
            if names.setdefault(number, name) != name:
                return False

    return len(names) == len({name for entry in entries for name in entry["input_dtypes"]})


def dtypes_of(
    memory: Memory, starts: Sequence[int], columns: Mapping[str, int], entries: Sequence[Entry]
) -> dict[str, str]:
    found: dict[str, str] = {}

    for start, entry in zip(starts, entries, strict=True):
        numbers = vector(memory, memory.read(start + columns["dtypes"], 16), 0)
        found.update(zip(map(str, numbers), entry["input_dtypes"], strict=True))

    return found


def find_way(
    memory: Memory, regions: Sequence[tuple[int, int, str]], vector_at: int
) -> tuple[int, int | None]:
    """Return the way from the library to the vector, the same in every process that has it loaded."""
    base, own = library(regions)

    for begin, end in own:
        if begin <= vector_at < end:
            return vector_at - base, None

    found = {
        (begin + at - base, vector_at - pointer)
        for begin, end in own
        for at, pointer in pointers(memory, begin, end)
        if 0 <= vector_at - pointer < MOST_OBJECT_BYTES
        and is_given_out(memory, pointer, vector_at + 24)
    }

    if len(found) != 1:
        raise Unknown(f"{len(found)} places of the library lead to the recorder")

    return found.pop()


def library(regions: Sequence[tuple[int, int, str]]) -> tuple[int, list[tuple[int, int]]]:
    """Return where the library is loaded, and what of its memory can be written, the rest of its
    data that no file holds (`.bss`) included.
    """
    with open("/proc/self/maps") as lines:
        mapped = [line.split() for line in lines if line.rstrip().endswith("/" + LIBRARY)]

    if not mapped:
        raise Unknown(f"no {LIBRARY} is mapped")

    base = min(int(fields[0].partition("-")[0], 16) for fields in mapped)
    last = max(int(fields[0].split()[0].partition("-")[2], 16) for fields in mapped)
    return base, [
        (begin, end)
        for begin, end, path in regions
        if path.endswith("/" + LIBRARY) or (begin == last and not path)
    ]


def pointers(memory: Memory, begin: int, end: int) -> Iterator[tuple[int, int]]:
    data = memory.read(begin, end - begin)

    for number, (pointer,) in enumerate(struct.iter_unpack("<Q", data[: len(data) // 8 * 8])):
        yield number * 8, pointer


def is_given_out(memory: Memory, begin: int, end: int) -> bool:
    """Return whether glibc gave out memory that begins there and holds all up to `end`.

    malloc(3) keeps the size in front of what it gives out.
    """
    size = memory.u64(begin - 8) & ~7
    return begin % 16 == 0 and end - begin <= size - 8 <= 1 << 32


if __name__ == "__main__":
    main()
