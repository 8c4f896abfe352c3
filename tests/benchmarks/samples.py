"""The figures of one run: what was measured on which variant, under which load, how often."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Cell:
    """A variant under a load: the delay of each leg, and how many people are at work at once."""

    variant: str
    delay_ms: int = 0
    people: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """Figures by name, as one repetition measured them."""

    cell: Cell
    figures: Figures


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of all repetitions, the lowest and the highest."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(median(values), min(values), max(values))


Repetition = list[Sample]


def values(repetitions: list[Repetition], name: str, cell: Cell) -> dict[int, float]:
    """A figure by the number of its repetition; the median if one measured it several times."""
    measured: dict[int, list[float]] = {}
    for number, samples in enumerate(repetitions):
        for sample in samples:
            if sample.cell == cell and name in sample.figures:
                measured.setdefault(number, []).append(sample.figures[name])
    return {number: median(several) for number, several in measured.items()}
