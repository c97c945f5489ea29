"""Which actors of a job are ranks of one world, by Ray's tables and by their live variables."""

from __future__ import annotations

from typing import Any

from dsray_inspect.agent.handles import ALIVE, DEAD, ProcessHandle, RunHandle
from dsray_inspect.agent.launchers.ray.plain_actors import (
    PlainActors,
    missing_note,
    missing_ranks,
    unknown_places,
)


def actor(number: int, class_name: str = "Policy", **more: Any) -> ProcessHandle:
    given: dict[str, Any] = {
        "actor_id": f"a{number}",
        "job_id": "01",
        "class_name": class_name,
        "module": "rlhf.actors",
        "state": ALIVE,
        "pid": 100 + number,
        "node_id": "n1",
        "node_ip": "10.0.0.1",
        "owner_worker_id": "driver",
        "runtime_env_vars": {},
        "started_at": float(number),
    }
    return ProcessHandle(**(given | more))


def place(rank: int, port: int = 29500, size: int = 3) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "10.0.0.1",
        "MASTER_PORT": str(port),
    }


def ranks(world: RunHandle) -> list[tuple[int | None, str]]:
    return [(row.rank, row.actor_id) for row in world.workers]


def test_a_runtime_env_tells_the_rank() -> None:
    [world] = PlainActors().runs(
        [actor(1, runtime_env_vars=place(1)), actor(2, runtime_env_vars=place(0)), actor(3)]
    )
    assert ranks(world) == [(0, "a2"), (1, "a1")]
    assert world.name == "Policy"
    assert missing_ranks(world, {}) == [2]
    assert missing_note([2], 2) == "1 of 3 ranks are no actor of this job that has come so far: 2."


def test_a_world_of_two_has_two_ranks() -> None:
    rows = [actor(number) for number in (0, 1)]
    places = {f"a{number}": place(number, size=2) for number in (0, 1)}
    [world] = PlainActors().runs(rows, places)
    assert missing_ranks(world, places) == []


def test_worlds_that_meet_in_two_places_are_two() -> None:
    rows = [actor(1), actor(2), actor(3, "Critic"), actor(4, "Critic"), actor(5)]
    places = {
        "a1": place(0),
        "a2": place(1),
        "a3": place(0, port=29501),
        "a4": place(1, port=29501),
        "a5": place(0, port=29502),
    }
    worlds = PlainActors().runs(rows, places)
    assert [world.name for world in worlds] == ["Policy", "Critic", "Policy-2"]
    assert not worlds[0].is_same(worlds[1]), "one driver owns them, and they are two"
    assert worlds[0].is_same(PlainActors().runs(rows, places)[0])


def test_a_rank_that_was_replaced_is_the_newer_actor() -> None:
    rows = [actor(1, state=DEAD), actor(2), actor(3)]
    [world] = PlainActors().runs(rows, {"a1": place(0), "a2": place(1), "a3": place(0)})
    assert ranks(world) == [(0, "a3"), (1, "a2")]


def test_actors_of_rays_own_are_no_ranks() -> None:
    own = actor(1, "RayTrainWorker", module="ray.train.v2.worker", runtime_env_vars=place(0))
    assert PlainActors().runs([own]) == []
    assert unknown_places([own], {}) == []


def test_only_living_actors_that_may_be_ranks_are_looked_into() -> None:
    rows = [
        actor(1),
        actor(2, state=DEAD),
        actor(3, state="PENDING_CREATION", pid=0),
        actor(4, runtime_env_vars=place(0)),
        actor(5),
    ]
    assert [row.actor_id for row in unknown_places(rows, {"a5": place(1)})] == ["a1"]
