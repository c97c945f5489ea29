"""Reading NVML, through both bindings, against a library that is really loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dsray_inspect.agent.remote.gpus import BINDINGS
from tests.nvml import build

READ = """
import json, warnings
from dsray_inspect.agent.remote import gpus as gpus
warnings.simplefilter("ignore")
gpus.BINDINGS = ({binding!r},)
found, failure = gpus.read_gpus()
print(json.dumps([found, failure["detail"] if failure else "ok"]))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return build(tmp_path_factory.mktemp("nvml"))


def read(binding: str, variables: dict[str, str]) -> tuple[list[dict[str, Any]], str]:
    """Read in a process of its own: a library is loaded once in a process's life."""
    done = subprocess.run(
        [sys.executable, "-c", READ.format(binding=binding)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    gpus, why = json.loads(done.stdout)
    return gpus, why


@pytest.mark.parametrize("binding", BINDINGS)
def test_reads_every_device(library: dict[str, str], binding: str) -> None:
    gpus, why = read(binding, {**library, "FAKE_NVML_GPUS": "2", "FAKE_NVML_PID": "4242"})
    assert why == "ok"
    assert gpus[1] == {
        "index": 1,
        "uuid": "GPU-00000000-0000-0000-0000-000000000001",
        "name": "NVIDIA Test 1",
        "utilization": 0.51,
        "memory_used_bytes": 2 << 30,
        "memory_total_bytes": 80 << 30,
        "pids": [],
    }
    assert gpus[0]["pids"] == [4242]


@pytest.mark.parametrize("binding", BINDINGS)
def test_what_a_device_does_not_support_is_not_known(library: dict[str, str], binding: str) -> None:
    gpus, why = read(binding, {**library, "FAKE_NVML_POOR": "1"})
    assert why == "ok"
    assert gpus[0]["uuid"].startswith("GPU-")
    assert (gpus[0]["utilization"], gpus[0]["memory_used_bytes"], gpus[0]["pids"]) == (
        None,
        None,
        [],
    )


@pytest.mark.parametrize("binding", BINDINGS)
def test_says_why_the_driver_gives_nothing(library: dict[str, str], binding: str) -> None:
    gpus, why = read(binding, {**library, "FAKE_NVML_ERROR": "9"})
    assert gpus == []
    assert "driver not loaded" in why.lower().replace("_", " ")


@pytest.mark.parametrize("binding", BINDINGS)
def test_says_that_there_is_no_library(binding: str, tmp_path: Path) -> None:
    gpus, why = read(binding, {"LD_LIBRARY_PATH": str(tmp_path)})
    if gpus:
        pytest.skip("this machine has an NVIDIA driver")
    assert "NVML does not answer" in why
