"""Process groups and their collectives."""

from __future__ import annotations

from dsray_inspect.agent.model.record import Record


class Group(Record, frozen=True, kw_only=True):
    """A process group. Groups of different ranks may have the same name, but never the same id."""

    id: str
    name: str
    """What torch calls it."""
    ranks: tuple[int, ...]


class Collective(Record, frozen=True, kw_only=True):
    """One collective as a rank's flight recorder has it."""

    group: str
    """The name of its process group."""
    group_id: str | None
    """Its process group in `Snapshot.groups`; None if the group's ranks are not known."""
    sequence: int
    """Counts the collectives of a group: equal numbers on all ranks are one collective."""
    operation: str
    sizes: tuple[tuple[int, ...], ...]
    dtype: str
    age_s: float
    """Seconds since the rank entered it, by the rank's own clock."""
    finished: bool
    timeout_s: float | None
    """After how long its group gives up."""

    @property
    def group_key(self) -> GroupKey:
        """The name of its process group, and its id, as groups may share a name."""
        return self.group, self.group_id


GroupKey = tuple[str, str | None]
