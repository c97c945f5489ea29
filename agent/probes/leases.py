"""The leases on a ring: words of its header (stdlib only).

Each holder writes only its own pair of words. `W_DEADLINE_NS`, the only word the trainer reads, is
the latest of all leases; concurrent writers can set it too early by one renewal at most.
"""

from __future__ import annotations

from dsray_inspect.agent.probes.wire import HOLDERS, W_DEADLINE_NS, W_HOLDERS

_PLACES = range(W_HOLDERS, W_HOLDERS + 2 * HOLDERS, 2)


def hold(words: memoryview, token: int, until_ns: int, now_ns: int) -> bool:
    """Take or renew a lease; return False if all slots are taken."""
    mine = [at for at in _PLACES if words[at] == token]
    free = mine or [at for at in _PLACES if not words[at] or words[at + 1] < now_ns]

    if not free:
        return False

    words[free[0]], words[free[0] + 1] = token, until_ns
    words[W_DEADLINE_NS] = _latest(words)
    return True


def clear(words: memoryview, token: int) -> None:
    """Release a lease."""
    for at in _PLACES:
        if words[at] == token:
            words[at] = words[at + 1] = 0

    words[W_DEADLINE_NS] = _latest(words)


def _latest(words: memoryview) -> int:
    return max((int(words[at + 1]) for at in _PLACES if words[at]), default=0)


def is_held(words: memoryview, now_ns: int) -> bool:
    return _latest(words) >= now_ns
