"""What may enter a pool: no overlapping atoms, no absurd forces, nothing that is not a number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, CalculatorError
from ase.data import chemical_symbols, covalent_radii

from ..frames import Frames
from ..neighbours import pairs_of

NON_FINITE, TOO_CLOSE, LARGE_FORCE, MD_STOPPED = 'non_finite', 'too_close', 'large_force', 'md_stopped'
REFUSED, NO_MINIMUM, NOT_MOLTEN, NO_ROOM = 'refused', 'no_minimum', 'not_molten', 'no_room'
REFUSALS = (ValueError, CalculatorError)  # what a calculator raises for a structure that it cannot describe


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Frames that passed the screen, and how many did not, by reason.

    facts: what was found out about a prototype, a dictionary each, in the order of the frames; empty for other frames.
    """

    frames: Frames
    dropped: dict[str, int] = field(default_factory=dict)
    facts: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Screen:
    """Refuses pairs closer than a fraction of the sum of covalent radii and forces above a limit (eV/Å).

    check_forces: whether the calculator is asked at all; else only the geometry is judged.
    """

    calculator: Calculator
    min_distance_fraction: float = 0.6
    max_force_eV_per_A: float = 50.0
    check_forces: bool = True

    def reason(self, atoms: Atoms) -> str | None:
        """Return why ``atoms`` is absurd, or ``None``; the calculator is asked only when the geometry is sane."""
        if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
            return NON_FINITE
        if has_overlap(atoms, fraction=self.min_distance_fraction):
            return TOO_CLOSE
        return self.force_reason(atoms) if self.check_forces else None

    def force_reason(self, atoms: Atoms) -> str | None:
        """Return why the calculator finds ``atoms`` absurd, or ``None``."""
        tested = atoms.copy()
        tested.calc = self.calculator
        try:
            forces, energy = tested.get_forces(), tested.get_potential_energy()
        except REFUSALS:
            return REFUSED
        if not (np.isfinite(forces).all() and np.isfinite(energy)):
            return NON_FINITE
        return LARGE_FORCE if np.linalg.norm(forces, axis=1).max() > self.max_force_eV_per_A else None

    def keep(self, structures: Iterable[Atoms]) -> tuple[list[Atoms], Counter[str]]:
        """Return the sane structures in order and a count of the others by reason."""
        kept: list[Atoms] = []
        dropped: Counter[str] = Counter()
        for atoms in structures:
            reason = self.reason(atoms)
            if reason is None:
                kept.append(atoms)
            else:
                dropped[reason] += 1
        return kept, dropped


def has_overlap(atoms: Atoms, *, fraction: float) -> bool:
    """Return whether any pair is closer than ``fraction`` of the sum of its covalent radii."""
    if len(atoms) == 0:
        return False
    radii = fraction * covalent_radii[atoms.numbers]
    pairs = pairs_of(atoms.positions, atoms.cell.array, atoms.pbc, 2.0 * float(radii.max()))
    return bool((np.linalg.norm(pairs.vectors, axis=1) < radii[pairs.first] + radii[pairs.second]).any())


def systems_of(frames: Frames) -> list[str]:
    """Return the set of elements of every frame, written as ``'Fe-O'``."""
    return [
        '-'.join(sorted({chemical_symbols[number] for number in np.unique(frames.numbers[frames.span(row)])}))
        for row in range(len(frames))
    ]


def count_systems(frames: Frames) -> dict[str, int]:
    """Return the number of frames of every set of elements, written as ``'Fe-O'``."""
    return dict(sorted(Counter(systems_of(frames)).items()))
