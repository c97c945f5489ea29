"""A process with gloo and NCCL has a recorder of each; the one of NCCL is a double here.

The double has what torch's own dump of NCCL's collectives has (FlightRecorder.hpp), and stands where
torch's function would be; gloo's recorder and the process group are real.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

SCRIPT = """
import json, os, pickle, time, torch, torch.distributed as dist
from dsray_inspect.agent.remote.flight_recorder import collectives
from dsray_inspect.agent.remote.worker import process

os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="0", RANK="0", WORLD_SIZE="1")
dist.init_process_group("gloo")
world = dist.distributed_c10d._world
world.pg_backend_config[dist.group.WORLD] = "cpu:gloo,cuda:nccl"
nccl = []

def dump(includeCollectives, includeStackTraces, onlyActive):
    last = nccl[-1]["collective_seq_id"] if nccl else -1
    done = last if nccl and nccl[-1]["state"] == "completed" else last - 1
    status = {"last_enqueued_collective": last, "last_completed_collective": done}
    entries = {"entries": nccl} if includeCollectives else {}
    return pickle.dumps({"pg_status": {"0": status} if nccl else {}, **entries})

def launch(state):
    nccl.append({
        "pg_id": 0, "process_group": ["0", "default_pg"], "collective_seq_id": len(nccl) + 1,
        "profiling_name": "nccl:all_reduce", "input_sizes": [[8]], "input_dtypes": ["BFloat16"],
        "time_created_ns": time.time_ns(), "is_p2p": False, "retired": False, "state": state,
        "timeout_ms": 600000,
    })

torch._C._distributed_c10d._dump_nccl_trace = dump
state = None

def sample():
    global state
    told = process(None, {"environment": None, "recorder_state": state}, {})
    if "collectives" in told["unchanged"]:
        print(json.dumps("unchanged"))
        return
    read = collectives(None, {"recorder": "always", "max_pause_ms": 100}, told)
    state = read["recorder_state"]
    print(json.dumps(read))

dist.all_reduce(torch.zeros(2)); sample(); sample()
launch("completed"); launch("started"); sample(); sample()
nccl[-1]["state"] = "completed"; sample()
"""


def samples() -> list[Any]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_collectives_of_both_are_there_and_each_backend_counts_for_itself() -> None:
    gloo, same, both, still_same, finished = samples()
    assert [entry["group"] for entry in gloo["collectives"]] == ["0/gloo"]
    assert (same, still_same) == ("unchanged", "unchanged")
    assert [
        (entry["group"], entry["sequence"], entry["operation"], entry["finished"])
        for entry in both["collectives"]
    ] == [
        ("0/gloo", 1, "all_reduce", True),
        ("0/nccl", 1, "all_reduce", True),
        ("0/nccl", 2, "all_reduce", False),
    ]
    assert both["arrivals"].keys() == {"0/gloo", "0/nccl"}
    assert both["group_ranks"].keys() == {"0/gloo", "0/nccl"}
    assert finished["collectives"][-1]["finished"]
