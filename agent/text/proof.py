"""What a verdict does not prove, in words without a name of the job."""

from __future__ import annotations

from typing import Final

from dsray_inspect.agent.causes import Family, spec_of
from dsray_inspect.agent.explanation import Explanation
from dsray_inspect.agent.model import OK, VerdictState
from dsray_inspect.agent.text.humanize import agree, count

OF_FAMILY: Final[dict[Family, str]] = {
    "stall": "It shows which rank the others wait for and where that rank is, not why the line "
    "there does not return: what it waits for outside the run was not seen.",
    "disagreement": "It shows that the ranks' calls do not match, not which rank is right.",
    "process": "It shows that a process does not go on, not who or what made it stop.",
    "rendezvous": "It shows who is missing or does not answer, not why: a late rank, a firewall "
    "and a wrong address can look alike.",
    "compile": "It shows that a compile or its lock is waited for, not that the compile would fail "
    "or that the lock can be removed safely.",
    "exit": "It rests on what Ray, the kernel and the process left behind: the first error that "
    "was kept need not be the first that happened.",
    "driver and controller": "It shows what the driver or the controller is in, not that the ranks "
    "would train if it went on.",
    "drift": "It shows that ranks differ, not that the difference does harm or explains a hang.",
    "numerics": "It shows what the numbers are, not where the first bad one came from.",
    "memory": "It shows the memory at one moment, not that this is what slows or ends the run.",
}
OF_STATE: Final[dict[VerdictState, str]] = {
    "healthy": "Healthy means that each rank makes progress in its own rhythm. It says nothing of "
    "the loss, of the speed that would be possible, or of the next minute.",
    "starting": "That it starts does not mean that the start will succeed.",
    "finished": "That the job has ended without an error says nothing of its result.",
    "unknown": "Nothing is proven: not that the run hangs, and not that it goes on.",
    "degraded": "That something was found does not mean that it is the only thing.",
    "hung": "That it hangs now does not mean that it will not go on by itself.",
    "failed": "What ended the run may have left no trace that was found.",
}
FROM_A_FILE: Final = (
    "It is judged from a file: what its writer left out or changed cannot be noticed here."
)
_NOT_SURE: Final = "The samples do not confirm it; `because` says what is missing."
_ONE_MOMENT: Final = "It compares samples of a few seconds; before and after them, all may differ."


def not_proven(explanation: Explanation, *, is_from_file: bool) -> tuple[str, ...]:
    """Return what the verdict leaves open, the most important first."""
    verdict, workers = explanation.verdict, explanation.snapshot.workers
    unread = [worker for worker in workers if worker.evidence.stack != OK]
    found = [OF_FAMILY[spec_of(verdict.cause).family]] if verdict.cause else []
    found += [OF_STATE[verdict.state]] if not verdict.cause or verdict.state == "hung" else []
    found += [_NOT_SURE] if explanation.sure == "no" and verdict.state != "unknown" else []

    if unread:
        gave = agree(unread, "gives", "give")
        found.append(
            f"{count(len(unread), 'rank')} of {len(workers)} {gave} no stack: what "
            f"{agree(unread, 'it does', 'they do')} is not known."
        )

    return (*found, FROM_A_FILE if is_from_file else _ONE_MOMENT)
