"""DeepSpeed's ops: who compiles, who waits."""

from __future__ import annotations

from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.detectors.op_compile import AwaitedLock, OpCompile
from dsray_inspect.agent.text.findings.wording import Words, words
from dsray_inspect.agent.text.humanize import agree, count, duration, name_ranks, sentence


@words.register
def op_compile(facts: OpCompile, detection: Detection) -> Words:
    ranks, waiting = detection.ranks, facts.waiting
    rest = f"; {name_ranks(waiting)} {agree(waiting, 'is', 'are')} waiting" if waiting else ""
    return Words(
        summary=f"{sentence(name_ranks(ranks))} {agree(ranks, 'is', 'are')} compiling a "
        f"DeepSpeed op{rest}.",
        evidence=tuple(
            f"{name_ranks([rank])}: child processes {', '.join(names)}"
            for rank, names in facts.compilers
        ),
        next_step="keep TORCH_EXTENSIONS_DIR between runs, or build the op into the image "
        "(DS_BUILD_…=1)",
    )


@words.register
def compile_lock(facts: AwaitedLock, detection: Detection) -> Words:
    ranks = detection.ranks
    paths = ", ".join(facts.paths) or "in TORCH_EXTENSIONS_DIR (its path takes an in-process read)"
    age = f", {duration(facts.age_s)} old" if facts.age_s is not None else ""
    compilers = count(facts.compilers, "compiler") if facts.compilers else "no compilers"
    return Words(
        summary=f"{sentence(name_ranks(ranks))} {agree(ranks, 'is', 'are')} waiting for a compile "
        f"lock that no rank of this run holds: {paths}{age}.",
        evidence=(
            f"FileBaton.wait is on {agree(ranks, 'its stack', 'the stack of each')}",
            "no rank of this run is compiling",
            f"{compilers} on the node",
            *(f"{path} exists" for path in facts.paths),
        ),
        next_step=f"rm {facts.paths[0]}   (once none of your compilers is running)"
        if facts.paths
        else None,
    )
