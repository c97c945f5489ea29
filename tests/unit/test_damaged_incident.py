"""Incident files that are foreign, cut off or damaged: one sentence, or what is whole of them."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsray_inspect.agent.errors import ExitCode, UsageError
from dsray_inspect.agent.incident.layout import (
    HEADER,
    MANIFEST,
    MAX_PART_BYTES,
    SAMPLE,
    VERSION,
)
from dsray_inspect.agent.incident.parts import Damaged
from dsray_inspect.agent.incident.replay import replay
from tests.unit.incidents import HEADER_ONLY, run, two_samples, write


def error_of(path: Path) -> UsageError:
    with pytest.raises(UsageError) as caught:
        replay(path)

    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert caught.value.help_text
    assert caught.value.exit_code == ExitCode.USAGE
    return caught.value


def rewritten(path: Path, **parts: bytes | None) -> Path:
    """Write the parts of a file anew, with others in their place, or without them."""
    with zipfile.ZipFile(path) as archive:
        known = {name: archive.read(name) for name in archive.namelist()}

    other = path.with_name("other.dsray")

    with zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**known, **parts}.items():
            if data is not None:
                archive.writestr(name, data)

    return other


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    assert "cannot be read: No such file or directory" in str(error_of(tmp_path / "x.dsray"))


def test_a_folder_is_told(tmp_path: Path) -> None:
    assert "cannot be read: Is a directory" in str(error_of(tmp_path))


@pytest.mark.parametrize("data", [b"", b"{}\n", b"PK\x05\x06" + bytes(18), b"\x7fELF" * 50])
def test_a_foreign_file_is_told(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.dsray"
    path.write_bytes(data)
    assert "is no incident file of dsray-inspect" in str(error_of(path))


def test_another_zip_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.dsray"

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")

    assert "is no incident file of dsray-inspect" in str(error_of(path))


def test_a_newer_format_is_told(incident: Path) -> None:
    newer = msgspec.structs.replace(HEADER_ONLY, version=VERSION + 1)
    path = rewritten(incident, **{HEADER: msgspec.json.encode(newer)})
    assert f"has format {VERSION + 1}, and this dsray-inspect reads {VERSION}" in str(
        error_of(path)
    )


def test_what_a_newer_version_adds_is_ignored_and_told(
    incident: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    with zipfile.ZipFile(incident) as archive:
        sample = json.loads(archive.read(SAMPLE.format(2)))

    sample["observation"]["parts"]["news"] = [1]
    sample["observation"]["record"]["news"] = {"a": [1]}
    sample["observation"]["record"]["job"] = 0
    sample["observation"]["record"]["ranks"]["a0"]["news"] = 1
    sample["news"] = None
    news = {SAMPLE.format(2): json.dumps(sample).encode(), "news.json": b"{}"}
    path = rewritten(incident, **news)
    assert replay(path).snapshots == replay(incident).snapshots
    assert replay(path).unknown == ("news.json",)
    run("why", "--from", str(path))
    assert b"parts that this dsray-inspect does not know: news.json" in capfdbinary.readouterr().err


def test_a_file_that_is_cut_off_gives_what_is_whole(
    incident: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    data, path = incident.read_bytes(), incident.with_name("cut.dsray")
    whole = replay(incident)
    kept = set()

    for end in range(0, len(data), 97):
        path.write_bytes(data[:end])

        try:
            found = replay(path)
        except UsageError:
            error_of(path)
        else:
            kept.add(len(found.snapshots))
            assert found.snapshots == whole.snapshots[: len(found.snapshots)]

    assert kept == {1, 2}
    path.write_bytes(data[: data.index(SAMPLE.format(2).encode()) + 100])
    assert run("why", "--from", str(path)) == ExitCode.FINDINGS
    assert b"is cut off; this is what could be read of it." in capfdbinary.readouterr().err


def test_a_file_without_a_sample_is_told(incident: Path) -> None:
    without = rewritten(incident, **{SAMPLE.format(number): None for number in (1, 2)})
    assert "holds no sample" in str(error_of(without))
    incident.write_bytes(incident.read_bytes()[:300])
    assert "is cut off before its first sample ends" in str(error_of(incident))


@pytest.mark.parametrize("claimed", [MAX_PART_BYTES + 1, 1000, 5_000_000])
def test_a_bomb_is_not_unpacked(incident: Path, claimed: int) -> None:
    """A part of many zeros, whatever size it claims to have."""
    name, zeros = SAMPLE.format(1).encode(), bytes(200_000_000)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(zeros) + packer.flush()
    path = incident.with_name("bomb.dsray")

    with zipfile.ZipFile(incident) as archive:
        header = archive.read(HEADER)

    local = struct.pack(
        "<4sHHHHHLLLHH", b"PK\3\4", 20, 0, 8, 0, 0, 0, len(packed), claimed, len(name), 0
    )

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(HEADER, header)

    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"PK\1\2")] + local + name + packed)
    assert "is damaged before its first sample ends" in str(error_of(path))


def test_a_part_of_too_many_values_is_not_decoded(incident: Path) -> None:
    many = b'{"observation":{"record":[' + b"[]," * 7_000_000 + b"[]]}}"
    assert "is damaged" in str(error_of(rewritten(incident, **{SAMPLE.format(1): many})))


def test_deep_nesting_is_damage(incident: Path) -> None:
    deep = b'{"observation":{"record":' + b"[" * 500_000 + b"]" * 500_000 + b"}}"
    assert "is damaged" in str(error_of(rewritten(incident, **{SAMPLE.format(1): deep})))


def test_a_part_that_is_missing_is_damage(incident: Path) -> None:
    """The second sample refers to what the first one has."""
    path = rewritten(incident, **{SAMPLE.format(1): None})
    assert "is damaged before its first sample ends" in str(error_of(path))


def whole_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file for all examples of a test, which hypothesis gives one fixture."""
    whole = tmp_path_factory.getbasetemp() / "whole.dsray"

    if not whole.exists():
        write(whole, two_samples())

    return whole


@given(data=st.data())
def test_no_bytes_raise_anything_but_one_sentence(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = whole_file(tmp_path_factory)
    raw = bytearray(whole.read_bytes())

    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place] = data.draw(st.integers(0, 255))

    path = whole.with_name("mutated.dsray")
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])

    assert is_read_or_refused(path)


@given(data=st.data())
def test_no_change_of_the_json_raises_anything_but_one_sentence(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = whole_file(tmp_path_factory)
    with zipfile.ZipFile(whole) as archive:
        name = data.draw(st.sampled_from(archive.namelist()))
        text = bytearray(archive.read(name))

    place = data.draw(st.integers(0, len(text) - 1))
    text[place : place + data.draw(st.integers(0, 3))] = data.draw(
        st.sampled_from([b"0", b"null", b"-1", b'"x"', b"[]", b"{}", b"1e999", b"9" * 30, b"\xff"])
    )
    path = rewritten(whole, **{name: bytes(text)})

    assert is_read_or_refused(path)


def is_read_or_refused(path: Path) -> bool:
    try:
        return bool(replay(path).snapshots)
    except UsageError as error:
        return error.help_text != ""


def test_damage_says_where_it_is(incident: Path) -> None:
    path = rewritten(incident, **{MANIFEST: b"{"})
    assert replay(path).damage == Damaged("damaged", MANIFEST)
