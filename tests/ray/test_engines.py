"""Probes in real DeepSpeed engines of all kinds, one rank without Ray, while they train."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.ray.cluster import EXTENSIONS
from tests.ray.ports import Ports
from tests.ray.processes import BIN
from tests.ray.submission import JOBS
from tests.unit.engines import RECORDED, recorded


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    ports = Ports()
    env = {
        "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(tmp_path_factory.mktemp("home")),
        "DS_ACCELERATOR": "cpu",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TORCH_EXTENSIONS_DIR": str(EXTENSIONS),
        "MASTER_PORT": str(ports.next()),
        **{name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
    }
    done = subprocess.run(
        [sys.executable, str(JOBS / "engines.py")],
        env=env,
        cwd=Path(__file__).parents[2],
        check=False,
        capture_output=True,
        text=True,
        timeout=500,
    )
    ports.release()
    assert done.returncode == 0, done.stderr[-4000:]
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {row["name"]: row for row in rows}


@pytest.mark.parametrize("name", RECORDED)
def test_a_real_engine_trains_on_as_before(engines: dict[str, Any], name: str) -> None:
    row = engines[name]
    assert row["restored"]
    assert row["gone"] == {"gone": True, "covered": []}
    assert row["new_graphs"] == 0
    assert not [one for one in row["missing"] if one.startswith(("DeepSpeed", "Pipeline"))]
    assert row["losses"] == pytest.approx(RECORDED[name]["losses"], rel=1e-3)


@pytest.mark.parametrize("name", RECORDED)
def test_the_recorded_spans_are_what_is_written_today(engines: dict[str, Any], name: str) -> None:
    now, then = (
        [
            (one.name, one.global_step, one.failed)
            for one in recorded(name, rows)[0]
            if one.name not in ("data", "user")
        ]
        for rows in (engines, RECORDED)
    )
    assert now == then
