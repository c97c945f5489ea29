"""The ring: what a reader sees of records that are written meanwhile, and after the writer's death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsray_inspect.agent.probes import wire
from dsray_inspect.agent.probes.collect import sweep
from dsray_inspect.agent.probes.leases import clear, hold, is_held
from dsray_inspect.agent.probes.ring import Reader, Ring, RingUnreadable, records

WRITER = """
import sys, time
from dsray_inspect.agent.probes import wire
from dsray_inspect.agent.probes.ring import Ring

ring = Ring(int(sys.argv[1]), sys.argv[2])
print(ring.path, flush=True)
sys.stdin.readline()

for n in range(1, int(sys.argv[3]) + 1):
    ring.end(ring.begin(n * 3, n % 999, n * 11, n * 13), n * 5)

ring.begin(7, wire.FORWARD, 0, 0)
print("written", flush=True)
time.sleep(600)
"""


def write(ring: Ring, *, first: int = 0) -> None:
    ring.end(ring.begin(1, wire.FORWARD, first, 0), 2)


def begin(ring: Ring, start: int) -> int:
    """Write a span that has not ended; returns where it is."""
    return ring.begin(start, wire.FORWARD, 0, 0)


def end(ring: Ring, at: int) -> None:
    ring.end(at, 30)


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Ring]:
    made = Ring(64, str(tmp_path))
    yield made
    if Path(made.path).exists():
        made.close()


@pytest.fixture
def reader(ring: Ring) -> Iterator[Reader]:
    opened = Reader(ring.path)
    yield opened
    opened.close()


def numbers(reader: Reader) -> list[int]:
    """Return which of all records the new ones are, from 1 on."""
    return [row[0] for row in records(reader.read())]


def start_writer(folder: Path, *, capacity: int, count: int) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", WRITER, str(capacity), str(folder), str(count)]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_every_reader_gets_every_record_once(ring: Ring, reader: Reader) -> None:
    other = Reader(ring.path)

    for _ in range(10):
        write(ring)

    assert numbers(reader) == list(range(1, 11))
    write(ring)
    assert numbers(reader) == [11]
    assert numbers(other) == list(range(1, 12))
    assert reader.dropped == other.dropped == 0
    other.close()


def test_a_slow_reader_loses_the_oldest_and_knows_how_many(ring: Ring, reader: Reader) -> None:
    for _ in range(200):
        write(ring)

    found = numbers(reader)
    assert found[-1] == 200
    assert found == list(range(found[0], 201))
    assert len(found) >= 64 - 64 // 16
    assert reader.dropped == 200 - len(found)


def test_a_late_reader_may_begin_with_now(ring: Ring, reader: Reader) -> None:
    for _ in range(100):
        write(ring)

    reader.skip_all()
    assert numbers(reader) == []
    write(ring)
    assert numbers(reader) == [101]
    assert reader.dropped == 0


def test_spans_are_open_until_they_end(ring: Ring, reader: Reader) -> None:
    outer, inner = begin(ring, 10), begin(ring, 20)
    assert reader.open_spans() == [(10, wire.FORWARD), (20, wire.FORWARD)]
    write(ring)
    assert numbers(reader) == [3]
    late = Reader(ring.path)
    late.skip_all()
    end(ring, inner)
    assert reader.open_spans() == late.open_spans() == [(10, wire.FORWARD)]
    assert numbers(reader) == [2]
    end(ring, outer)
    assert numbers(reader) == [1]
    assert numbers(late) == [1, 2]
    assert reader.open_spans() == []
    assert reader.dropped == late.dropped == 0
    late.close()


def test_an_open_span_whose_place_is_taken_is_not_lost_yet(ring: Ring, reader: Reader) -> None:
    begin(ring, 10)
    assert numbers(reader) == []

    for _ in range(64):
        write(ring)

    assert numbers(reader) == list(range(2, 66))
    assert reader.open_spans() == []
    assert reader.dropped == 1
    # It takes another number when it ends.
    at = ring.begin(10, wire.FORWARD | wire.MOVED, 0, 0)
    assert numbers(reader) == []
    end(ring, at)
    assert numbers(reader) == [66]
    assert reader.dropped == 0


def test_a_record_that_is_being_begun_is_waited_for(ring: Ring, reader: Reader) -> None:
    write(ring)
    ring.end(2, -2)
    assert numbers(reader) == [1]
    assert reader.open_spans() == []
    next(ring.numbers)
    ring.columns[wire.NUMBER][2] = 2
    assert numbers(reader) == []
    assert len(reader.open_spans()) == 1
    end(ring, 2)
    assert numbers(reader) == [2]
    assert reader.dropped == 0


def test_a_record_that_is_being_overwritten_is_lost(ring: Ring, reader: Reader) -> None:
    for _ in range(64):
        write(ring)

    ring.end(1, -65)
    found = numbers(reader)
    assert found[-1] == 64
    assert 1 not in found
    assert reader.dropped == 64 - len(found)


def test_a_place_that_its_thread_never_fills_is_skipped(ring: Ring, reader: Reader) -> None:
    write(ring)
    next(ring.numbers)

    for _ in range(40):
        write(ring)

    assert numbers(reader) == [1, *range(3, 43)]
    assert reader.dropped == 1


def test_no_torn_record_is_taken_for_a_whole_one(tmp_path: Path) -> None:
    """The writer laps the reader again and again, as fast as it can."""
    count = 300_000
    writer = start_writer(tmp_path, capacity=256, count=count)
    assert writer.stdin is not None
    assert writer.stdout is not None
    reader = Reader(writer.stdout.readline().strip())
    writer.stdin.write("go\n")
    writer.stdin.flush()
    taken: set[int] = set()

    while len(taken) + reader.dropped < count:
        for row in records(reader.read()):
            n = row[0]
            assert row[1:6] == (n * 3, n * 5, n % 999, n * 11, n * 13)
            assert n not in taken
            taken.add(n)

    assert len(taken) + reader.dropped == count
    assert len(reader.open_spans()) == 1
    writer.kill()
    writer.communicate()
    reader.close()


def test_what_a_killed_writer_wrote_is_read_and_its_span_is_open(tmp_path: Path) -> None:
    writer = start_writer(tmp_path, capacity=256, count=100)
    assert writer.stdout is not None
    path = writer.stdout.readline().strip()
    assert writer.stdin is not None
    writer.stdin.write("go\n")
    writer.stdin.flush()
    assert writer.stdout.readline() == "written\n"
    writer.send_signal(signal.SIGKILL)
    writer.communicate()

    reader = Reader(path)
    assert numbers(reader) == list(range(1, 101))
    assert [start for start, _ in reader.open_spans()] == [7]
    assert not reader.writer_lives()
    reader.close()


def test_threads_write_into_one_ring(ring: Ring, reader: Reader) -> None:
    def write_ten(first: int) -> None:
        for _ in range(10):
            write(ring, first=first)

    threads = [threading.Thread(target=write_ten, args=(i,)) for i in range(6)]

    for thread in threads:
        thread.start()

    for thread in threads:
        thread.join()

    assert sorted(row[4] for row in records(reader.read())) == sorted(list(range(6)) * 10)


def test_readers_read_on_when_the_file_is_gone(ring: Ring, reader: Reader) -> None:
    write(ring)
    ring.close()
    assert not Path(ring.path).exists()
    assert numbers(reader) == [1]


def test_a_capacity_is_a_power_of_two(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="power of two, not 100"):
        Ring(100, str(tmp_path))

    assert list(tmp_path.iterdir()) == []


def test_a_ring_needs_its_room_before_it_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)

    with pytest.raises(OSError, match="No space"):
        Ring(64, str(tmp_path))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"x" * 8192])
def test_another_file_is_no_ring(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "dsray-1-x"
    path.write_bytes(content)

    with pytest.raises((RingUnreadable, ValueError)):
        Reader(str(path))


def test_leases_are_many_and_the_latest_counts(ring: Ring) -> None:
    words, second = ring.header, 10**9
    assert not is_held(words, 0 + 1)
    assert hold(words, 1, 10 * second, 0)
    assert hold(words, 2, 20 * second, 0)
    assert words[wire.W_DEADLINE_NS] == 20 * second
    clear(words, 2)
    assert is_held(words, 10 * second)
    assert not is_held(words, 10 * second + 1)
    clear(words, 1)
    assert words[wire.W_DEADLINE_NS] == 0


def test_leases_that_ran_out_make_room(ring: Ring) -> None:
    assert all(hold(ring.header, token, 10, 0) for token in range(1, wire.HOLDERS + 1))
    assert not hold(ring.header, 99, 20, 5)
    assert hold(ring.header, 99, 20, 11)


def test_rings_of_the_dead_are_swept_when_nobody_holds_them(tmp_path: Path, ring: Ring) -> None:
    writer = start_writer(tmp_path, capacity=64, count=1)
    assert writer.stdout is not None
    path = writer.stdout.readline().strip()
    assert sweep(str(tmp_path)) == []
    reader = Reader(path)
    hold(reader.header, 1, time.monotonic_ns() + 10**12, 0)
    writer.kill()
    writer.communicate()
    assert sweep(str(tmp_path)) == []
    clear(reader.header, 1)
    reader.close()
    assert sweep(str(tmp_path)) == [path]
    assert Path(ring.path).exists()


def test_a_ring_of_another_version_is_swept_too(tmp_path: Path) -> None:
    writer = start_writer(tmp_path, capacity=64, count=1)
    assert writer.stdout is not None
    path = writer.stdout.readline().strip()
    reader = Reader(path)
    reader.header[wire.W_VERSION] = wire.VERSION + 1
    reader.close()
    writer.kill()
    writer.communicate()

    with pytest.raises(RingUnreadable, match="version"):
        Reader(path)

    assert sweep(str(tmp_path)) == [path]
