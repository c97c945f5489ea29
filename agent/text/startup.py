"""How the run started and what that cost, in two lines or three."""

from __future__ import annotations

from collections.abc import Iterator

from dsray_inspect.agent.model import Cost, CostName, Snapshot, StartName, Startup
from dsray_inspect.agent.text.humanize import duration
from dsray_inspect.agent.text.truncate import wrap

WORDS: dict[StartName, str] = {
    "controller": "controller",
    "placement_group": "placement group",
    "actor_scheduling": "actors",
    "process_start": "actors",
    "imports": "imports",
    "ranks_and_env": "ranks and env",
    "rendezvous": "rendezvous",
    "before_deepspeed": "your code before DeepSpeed",
    "deepspeed_init": "DeepSpeed init",
    "first_step": "first step",
}
_COST_WORDS: dict[CostName, str] = {
    "serialization": "serialization",
    "report": "report",
}
SHOWN_S = 0.05
"""What is shorter would be shown as 0.0."""


def startup_lines(snapshot: Snapshot) -> list[str]:
    """Return the start with its parts, what came after it, and what of it is not known."""
    startup = snapshot.startup

    if startup is None:
        return []

    costs = {cost.name: cost for cost in snapshot.costs}
    lines = wrap("start-up    ", [*parts(startup, costs)], " · ")
    spent = list(spending(costs))
    lines += wrap("cost        ", spent, " · ") if spent else []
    lines += [line for note in startup.notes for line in wrap("            ", note.split(), " ")]
    return lines


def parts(startup: Startup, costs: dict[CostName, Cost]) -> Iterator[str]:
    """Yield the total with the first part, then the others, as far as they are long enough."""
    merged: dict[str, float] = {}

    for part in startup.parts:
        word = WORDS[part.name]
        merged[word] = merged.get(word, 0.0) + part.seconds

    compiled = costs.get("op_compile")
    shown = [(word, seconds) for word, seconds in merged.items() if seconds >= SHOWN_S]
    total = f"{total_of(startup)}: "

    for number, (word, seconds) in enumerate(shown):
        inside = word == WORDS["deepspeed_init"] and compiled and compiled.detail
        detail = f" (op compile {compiled.detail})" if inside and compiled else ""
        yield f"{'' if number else total}{word} {seconds:.1f}{detail}"


def total_of(startup: Startup) -> str:
    text = duration(startup.seconds)
    ends = {
        "first_step": "",
        "train_func": " to your function",
        "now": " so far",
        "partly": " known",
    }
    return f"{text}{ends[startup.until]}{' of the restart' if startup.restart else ''}"


def spending(costs: dict[CostName, Cost]) -> Iterator[str]:
    """Yield what was spent apart from the start, and the training that stands against it."""
    compiled, deepspeed = costs.get("op_compile"), costs.get("deepspeed_init")

    if compiled and compiled.detail and not (deepspeed and deepspeed.seconds is not None):
        yield f"op compile {compiled.detail}"

    for name, word in _COST_WORDS.items():
        cost = costs.get(name)

        if cost is not None and cost.seconds is not None and cost.seconds >= SHOWN_S:
            yield f"{word} {cost.seconds:.1f}"

    training = costs.get("training")

    if training is not None and training.seconds is not None:
        is_known = deepspeed is not None and deepspeed.seconds is not None
        yield f"against {duration(training.seconds)} {'of training' if is_known else 'in your function'}"
