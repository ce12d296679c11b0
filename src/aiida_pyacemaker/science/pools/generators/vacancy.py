"""Vacancies: one atom taken out, a brief relaxation, rattled copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.random import Generator

from ..lattice import relax_structure

COPIES_PER_SITE = 4
RELAXATION_STEPS = 10


def make_vacancies(
    atoms: Atoms, *, count: int, amplitudes: Sequence[float], calculator: Calculator, rng: Generator
) -> list[Atoms]:
    """Return ``count`` frames in runs of ``COPIES_PER_SITE`` with one vacancy: relaxed first, then rattled copies.

    The relaxation is cut after ``RELAXATION_STEPS`` steps at fixed cell; standard deviations (Å) of ``amplitudes``
    follow in turn.
    """

    def remove() -> Atoms:
        defective = atoms.copy()
        del defective[int(rng.integers(len(atoms)))]
        return defective

    return relaxed_copies(remove, count=count, amplitudes=amplitudes, calculator=calculator, rng=rng)


def relaxed_copies(
    draw: Callable[[], Atoms], *, count: int, amplitudes: Sequence[float], calculator: Calculator, rng: Generator
) -> list[Atoms]:
    """Return ``count`` frames in runs of ``COPIES_PER_SITE``: what ``draw`` gave, briefly relaxed, then rattled."""
    frames: list[Atoms] = []
    while len(frames) < count:
        relaxed, _ = relax_structure(draw(), calculator, cell='fixed', fmax=0.05, max_steps=RELAXATION_STEPS)
        frames.append(relaxed)
        for index in range(COPIES_PER_SITE - 1):
            copy = relaxed.copy()
            copy.positions += rng.normal(scale=amplitudes[index % len(amplitudes)], size=copy.positions.shape)
            frames.append(copy)
    return frames[:count]
