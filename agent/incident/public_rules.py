"""The rule of each field with text: what a public file has in its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from dsray_inspect.agent import handles
from dsray_inspect.agent.compat.supported import LACKS_ON_OLDER_RAY
from dsray_inspect.agent.doctor.facts import NodeCheck, ProcessRights
from dsray_inspect.agent.doctor.report import ClusterReport, NodeAccess, Problem, Rung
from dsray_inspect.agent.incident.allowed import (
    DTYPES,
    OPERATION_WORDS,
    is_known_word,
    is_public_key,
)
from dsray_inspect.agent.incident.public_names import PublicNames
from dsray_inspect.agent.incident.recorders import Operation, RankRecorder, RecordersPart
from dsray_inspect.agent.incident.rule import (
    Rule,
    always,
    among,
    each,
    keyed,
    named,
    only,
    short_id,
)
from dsray_inspect.agent.model import Agent, Collective, DeepSpeed, Gpu, Group
from dsray_inspect.agent.sampling.node_report import NodeReport, PostMortem, TrainLogMessage
from dsray_inspect.agent.sampling.observation import Observation, SampleRequest
from dsray_inspect.agent.sampling.process_probe import (
    ActivityCounters,
    BlockedCall,
    ChildProcess,
    Environ,
    FileLockWait,
    MemoryLimits,
    Peer,
    ProcessProbe,
    RecorderReport,
    StackDump,
)
from dsray_inspect.agent.sampling.rank_report import (
    CompileLock,
    ControllerReport,
    ControllerWorker,
    RankReport,
    TrainingHealth,
)
from dsray_inspect.agent.stacks.thread import Thread
from dsray_inspect.agent.unavailable import Unavailable

_STATES: Final = frozenset(
    "ALIVE DEAD PENDING_CREATION DEPENDENCIES_UNREADY RESTARTING PENDING PREPARED CREATED REMOVED "
    "RESCHEDULING PACK SPREAD STRICT_PACK STRICT_SPREAD RUNNING SUCCEEDED FAILED STOPPED FINISHED "
    "ERRORED ABORTED INITIALIZING SCHEDULING RESIZING SHUTTING_DOWN SYSTEM_ERROR USER_ERROR "
    "INTENDED_SYSTEM_EXIT INTENDED_USER_EXIT NODE_OUT_OF_MEMORY R S D Z T t I flock posix ofdlck".split()
)
_VERSION: Final = re.compile(
    r"\d+(?:\.\d+){0,2}(?:\.?(?:a|b|rc|post|dev)\d+)*(?:\+(?:cu\d+|cpu|rocm[\d.]+))?"
)
_PACKAGE_KEYS: Final = re.compile(
    r"(?:python|torch|deepspeed|ray|nccl|cuda|transformers|accelerate)"
)
_ADDRESS_SOURCES: Final = frozenset(["--address", "RAY_ADDRESS", "found on this machine"])
_HIDEPID: Final = frozenset(["", "1", "2", "4", "noaccess", "invisible", "ptraceable"])
_TITLES: Final = frozenset(["raylet", "dsray-inspect", "ray::RayTrainWorker", "ray::IDLE"])
_FIRST_PROCESSES: Final = frozenset("pause systemd init tini dumb-init sleep sh bash".split())
_ATTEMPTS: Final = (
    *("stacks", "memory", "environ", "environ_at_exec", "sched", "gpu_why"),
    *("ptrace_call", "process_vm_readv_call"),
)
_SYSTEMS: Final = frozenset("nccl gloo mpi ucc xccl hccl unknown".split())
_FINITE: Final = frozenset(["nan", "inf", "-inf"])
_PROGRAMS: Final = frozenset(
    "c++ cc cc1plus cicc cudafe++ g++ gcc ld ninja nvcc ptxas python python3 pt_data_worker "
    "sh bash mpirun torchrun deepspeed srun orted raylet gcs_server".split()
)


def _operation(_names: PublicNames, value: str) -> str:
    words = [word for word in re.split(r"[_: ]+", value.lower()) if word]
    return value if all(word in OPERATION_WORDS for word in words) else "collective"


def _config(names: PublicNames, config: Mapping[str, str]) -> dict[str, str]:
    return {
        key if is_public_key(key) else names.pseudonyms.name("setting", key): names.setting(value)
        for key, value in config.items()
    }


def _last_words(names: PublicNames, value: Mapping[str, tuple[str, ...]]) -> Any:
    return {
        names.pseudonyms.short_id("worker", worker): tuple(map(names.pseudonyms.text, lines))
        for worker, lines in value.items()
    }


def _versions(_names: PublicNames, value: Mapping[str, str]) -> dict[str, str]:
    return {
        package: version if _VERSION.fullmatch(version) else "own build"
        for package, version in value.items()
        if _PACKAGE_KEYS.fullmatch(package)
    }


_TEXT: Final = Rule(lambda names, value: names.pseudonyms.text(value))
_HOST: Final = Rule(lambda names, value: names.pseudonyms.host(value))
_PATH: Final = Rule(lambda names, value: names.pseudonyms.path(value))
_ADDRESS: Final = Rule(lambda names, value: names.pseudonyms.address(value))
_INTERFACE: Final = Rule(lambda names, value: names.pseudonyms.interface(value))
_CLASS: Final = Rule(lambda names, value: names.class_name(value))
_MODULE: Final = Rule(lambda names, value: names.module(value))
_GROUP: Final = Rule(lambda names, value: names.group(value))
_GROUP_ID: Final = Rule(lambda names, value: names.group_id(value))
_VARIABLES: Final = Rule(lambda names, value: names.variables(value))
_END: Final = Rule(
    lambda names, value: (
        names.pseudonyms.path(value)
        if value.startswith("/")
        else value and names.pseudonyms.address(value)
    )
)
_VARIABLE_SET: Final = Rule(
    lambda names, value: frozenset(filter(None, map(names.variable, sorted(value))))
)
_RESOURCE_MAP: Final = Rule(
    lambda names, value: {names.resource(name): amount for name, amount in value.items()}
)
_ARRIVALS: Final = Rule(
    lambda names, value: {names.group(group): times for group, times in value.items()}
)
_WORD: Final = Rule(
    lambda _names, value: value if value in _STATES or is_known_word(value) else "other"
)
_PROGRAM: Final = among(_PROGRAMS, "program")
_NONE: Final = always(None)
_PLAIN: Final = among(frozenset(["read", "write", "pipe", "named pipe", "socket"]), "other")
_NO_TEXT: Final = always("")
_JOB: Final = named("job")
_RAY_JOB: Final = named("ray-job")
_NODE: Final = short_id("node")
_ACTOR: Final = short_id("actor")
_WORKER: Final = short_id("worker")
_PLACEMENT: Final = short_id("placement-group")
_NAME: Final = named("name")

RULES: Final[dict[type, dict[str, Rule]]] = {
    Observation: {
        "exits": keyed("worker"),
        "session_dirs": always({}),
        "unreachable": keyed("node"),
        "available": _RESOURCE_MAP,
        "ranks": keyed("actor"),
        "node_reports": keyed("node"),
        "agents": keyed("node"),
        "notes": each(_TEXT),
    },
    SampleRequest: {"only": _NONE},
    Unavailable: {"detail": _TEXT},
    Agent: {"detail": _TEXT},
    handles.JobHandle: {
        "job_id": _RAY_JOB,
        "submission_id": _JOB,
        "entrypoint": always("<entrypoint>"),
        "namespace": named("namespace"),
        "driver_ip": _HOST,
        "driver_node_id": _NODE,
        "runtime_env_vars": _VARIABLES,
    },
    handles.Submission: {"status": _WORD, "message": _TEXT, "tail": _TEXT},
    handles.ProcessExit: {"worker_id": _WORKER, "node_id": _NODE, "kind": _WORD, "detail": _TEXT},
    handles.NodeHandle: {
        "node_id": _NODE,
        "ip": _HOST,
        "hostname": _HOST,
        "resources": _RESOURCE_MAP,
    },
    handles.ProcessHandle: {
        "actor_id": _ACTOR,
        "job_id": _RAY_JOB,
        "name": _NAME,
        "class_name": _CLASS,
        "module": _MODULE,
        "state": _WORD,
        "node_id": _NODE,
        "node_ip": _HOST,
        "worker_id": _WORKER,
        "owner_worker_id": _WORKER,
        "placement_group_id": _PLACEMENT,
        "runtime_env_vars": _VARIABLES,
        "death_cause": _TEXT,
        "required": _RESOURCE_MAP,
        "argv": always(()),
        "raw": always(b""),
    },
    handles.Bundle: {"resources": _RESOURCE_MAP, "node_id": _NODE},
    handles.TaskHandle: {
        "task_id": short_id("task"),
        "name": _TEXT,
        "job_id": _RAY_JOB,
        "node_id": _NODE,
        "actor_id": _ACTOR,
        "required": _RESOURCE_MAP,
        "placement_group_id": _PLACEMENT,
    },
    handles.Holder: {
        "id": named("holder"),
        "name": _NAME,
        "members": _TEXT,
        "job": _JOB,
        "job_id": _RAY_JOB,
        "node_ids": each(_NODE),
        "resources": _RESOURCE_MAP,
    },
    handles.PlacementGroup: {
        "placement_group_id": _PLACEMENT,
        "name": _NAME,
        "job_id": _RAY_JOB,
        "state": _WORD,
        "strategy": _WORD,
    },
    handles.RunHandle: {"generation": _WORD, "name": named("run")},
    ControllerReport: {
        "run_id": short_id("run-id"),
        "run_name": named("run"),
        "state": _WORD,
        "attempt": short_id("execution"),
        "start": _NONE,
    },
    ControllerWorker: {
        "actor_id": _ACTOR,
        "hostname": _HOST,
        "gpu_ids": each(Rule(lambda n, v: v if v.isdigit() else n.pseudonyms.name("gpu", v))),
    },
    RankReport: {
        "env_state": _NONE,  # a digest of variables that are left out
        "arrivals": _ARRIVALS,
        "versions": Rule(_versions),
        "start": _NONE,
        "builds": _NONE,
        "train_s": always({}),
        "failed": each(_TEXT),
    },
    TrainingHealth: {
        name: among(_FINITE, None)
        for name in TrainingHealth.__struct_fields__
        if name != "overflow"
    },
    CompileLock: {"path": _PATH},
    Thread: {"name": _TEXT},
    Environ: {
        "variables": _VARIABLES,
        "set_after_exec": _VARIABLE_SET,
        "from_parent": _VARIABLE_SET,
    },
    ChildProcess: {"name": _PROGRAM, "state": _WORD},
    MemoryLimits: {
        "whose": Rule(lambda n, v: v if v == "host" else n.pseudonyms.name("cgroup", v))
    },
    FileLockWait: {"kind": _WORD, "path": _PATH, "holder_name": _PROGRAM},
    Peer: {"name": _PROGRAM},
    BlockedCall: {"call": _PLAIN, "kind": _PLAIN, "name": _END},
    ActivityCounters: {"dials": each(_ADDRESS)},
    StackDump: {"note": _NO_TEXT},
    RecorderReport: {"arrivals": _ARRIVALS},
    ProcessProbe: {"command": _NO_TEXT, "start": _NONE},
    NodeReport: {"hostname": _HOST, "logs": always({})},
    PostMortem: {"last_words": Rule(_last_words), "interfaces": each(_INTERFACE)},
    TrainLogMessage: {"message": _TEXT},
    Gpu: {"uuid": named("GPU"), "name": only(re.compile(r"(?:NVIDIA|AMD|Tesla)[\w -]{0,50}"))},
    Collective: {
        "group": _GROUP,
        "group_id": _GROUP_ID,
        "operation": Rule(_operation),
        "dtype": among(DTYPES, "other"),
    },
    Group: {"id": _GROUP_ID, "name": _GROUP},
    ClusterReport: {
        "address": _ADDRESS,
        "found_by": among(_ADDRESS_SOURCES, "other"),
        "ray": only(_VERSION, "own build"),
        "python": only(_VERSION, "own build"),
        "our_ray": only(_VERSION, "own build"),
        "our_python": only(_VERSION, "own build"),
        "token": Rule(lambda _names, value: value and "a file or variable"),
        "lacks": each(among(frozenset(LACKS_ON_OLDER_RAY.values()), "other")),
    },
    Problem: {"what": _TEXT, "fix": _TEXT},
    Rung: {"why": _TEXT},
    NodeAccess: {
        "node_id": _NODE,
        "ip": _HOST,
        "hostname": _HOST,
        "rungs": always({}),  # found again from the facts
        "rights": _NONE,
    },
    ProcessRights: {
        "title": among(_TITLES, "ray::worker"),
        "user_namespace": named("user-namespace"),
    },
    NodeCheck: {
        "hostname": _HOST,
        "python": always("python3"),
        "hidepid": among(_HIDEPID, "hidden"),
        "pyspy": always("py-spy"),
        "pyspy_version": only(_VERSION, "own build"),
        **dict.fromkeys(_ATTEMPTS, _TEXT),
        "first_process": among(_FIRST_PROCESSES, "program"),
        "security_label": _TEXT,
    },
    Operation: {
        "group": _GROUP,
        "operation": Rule(_operation),
        "system": among(_SYSTEMS, "other"),
        "dtype": among(DTYPES, "other"),
    },
    RankRecorder: {"actor_id": _ACTOR},
    RecordersPart: {"groups": each(_ARRIVALS)},
    DeepSpeed: {
        "version": only(_VERSION, "own build"),
        "dtype": Rule(lambda names, value: names.setting(value)),
        "offload": Rule(lambda names, value: names.setting(value)),
        "optimizer": Rule(lambda names, value: names.setting(value)),
        "process_groups": each(_TEXT),
        "config_digest": short_id("config"),
        "config": Rule(_config),
        "init": always(()),
    },
}
