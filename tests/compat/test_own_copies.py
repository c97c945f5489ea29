"""What is sent as one single file has its own copy of what it needs: it equals the shelves."""

from __future__ import annotations

import inspect

from dsray_inspect.agent import handles
from dsray_inspect.agent.compat import deepspeed, ray, torch
from dsray_inspect.agent.probes import startup


def test_the_recorded_start_times_what_the_shelves_name() -> None:
    module, (function, _) = ray.START_FUNCTION
    assert {
        module: ((function, "rendezvous"),),
        **deepspeed.START_FUNCTIONS,
    } == startup.FUNCTIONS
    assert startup.METHODS == deepspeed.START_METHODS
    assert set(startup.IMPORTS) == {*deepspeed.START_IMPORTS, *torch.START_IMPORTS}


def test_the_recorded_start_hooks_into_what_the_shelves_name() -> None:
    assert startup.ENGINE == deepspeed.ENGINE_MODULE
    assert ray.START_RUNNER[0] == startup.RUNNER
    assert ray.START_CALLBACKS[0] == startup.CALLBACKS
    assert startup.CALLBACK_BASES == ray.CALLBACK_BASES
    assert startup.DRIVER == ray.JOB_CONFIG_VARIABLE
    used = inspect.getsource(startup)
    named = (
        deepspeed.ENGINE_CLASS,
        deepspeed.TAKE_STEP[2],
        ray.START_RUNNER[1],
        ray.START_CALLBACKS[1][0],
        ray.JOB_ID_VARIABLE,
        ray.WORKER_PROGRAM.rpartition("/")[2],
        *ray.CALLBACK_HOOKS,
        *ray.CALLBACK_END_HOOKS,
    )
    assert [name for name in named if name not in used] == []


def test_neutral_process_states_are_those_of_rays_actors() -> None:
    assert handles.ALIVE == ray.ALIVE_STATE
    assert handles.STARTING == ray.STARTING_STATES
