"""Who holds a ring, and until when: words of its header (stdlib only).

Each holder writes its own pair only. `W_DEADLINE_NS`, the one word that the trainer looks at,
is the latest of all; two who write it at once may set it too early by one renewal at most.
"""

from __future__ import annotations

from dsray_inspect.agent.probes.wire import HOLDERS, W_DEADLINE_NS, W_HOLDERS

PLACES = range(W_HOLDERS, W_HOLDERS + 2 * HOLDERS, 2)


def hold(words: memoryview, token: int, until_ns: int, now_ns: int) -> bool:
    """Take or renew a lease; False when there is no place left."""
    mine = [at for at in PLACES if words[at] == token]
    free = mine or [at for at in PLACES if not words[at] or words[at + 1] < now_ns]

    if not free:
        return False

    words[free[0]], words[free[0] + 1] = token, until_ns
    words[W_DEADLINE_NS] = latest(words)
    return True


def clear(words: memoryview, token: int) -> None:
    """Give a lease back."""
    for at in PLACES:
        if words[at] == token:
            words[at] = words[at + 1] = 0

    words[W_DEADLINE_NS] = latest(words)


def latest(words: memoryview) -> int:
    return max((int(words[at + 1]) for at in PLACES if words[at]), default=0)


def is_held(words: memoryview, now_ns: int) -> bool:
    return latest(words) >= now_ns
