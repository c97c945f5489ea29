"""The combinations of versions that the matrix has a cell for."""

from __future__ import annotations

from typing import Final, NamedTuple

from tests.matrix.venvs import Versions


class Cell(NamedTuple):
    """A generation of Ray Train on one set of versions."""

    versions: Versions
    train: str

    @property
    def name(self) -> str:
        return f"{self.versions.ray}/{self.train}"


_VERSIONS: Final = (
    Versions("2.44.1", "0.16.9", "2.13.0"),
    Versions("2.46.0", "0.16.9", "2.13.0"),
    Versions("2.49.2", "0.17.6", "2.13.0"),
    Versions("2.55.1", "0.18.9", "2.13.0"),
    Versions("2.60.0", "0.19.8", "2.13.0"),
)
CELLS: Final = tuple(Cell(versions, train) for versions in _VERSIONS for train in ("v1", "v2"))
