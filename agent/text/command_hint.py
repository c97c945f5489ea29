"""The commands that are suggested, as a user of this job would type them."""

from __future__ import annotations

from collections.abc import Sequence

from dsray_inspect.agent.model import Record

_MOST_RANKS = 4


class CommandHint(Record, frozen=True, kw_only=True):
    """`words` name the job and its cluster on a command line."""

    words: tuple[str, ...] = ()

    def line(self, command: str, ranks: Sequence[int] = (), flags: Sequence[str] = ()) -> str:
        """Return a command line on this job that can be pasted; the first ranks of many."""
        chosen = [f"--rank {rank}" for rank in ranks[:_MOST_RANKS]]
        return " ".join(("dsray-inspect", command, *self.words, *chosen, *flags))
