"""Numbers that are worked out where somebody reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping


class Measured(Mapping[str, float]):
    """One number by name, computed at its first reading: notes of steps that nobody scores cost nothing."""

    def __init__(self, name: str, measure: Callable[[], float]) -> None:
        self._name, self._measure, self._found = name, measure, list[float]()

    def __getitem__(self, name: str) -> float:
        if name != self._name:
            raise KeyError(name)
        if not self._found:
            self._found.append(self._measure())
        return self._found[0]

    def __iter__(self) -> Iterator[str]:
        return iter([self._name])

    def __len__(self) -> int:
        return 1
