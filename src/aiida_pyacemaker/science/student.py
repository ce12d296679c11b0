"""A fitted student as it lies in a folder: its potential, its active set and its baseline, together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .ace import AceCalculator, AcePotential, ActiveSet
from .baseline import PairBaseline

POTENTIAL_FILE, ACTIVE_SET_FILE, BASELINE_FILE = 'potential.yaml', 'potential.asi', 'baseline.json'


@dataclass(frozen=True, kw_only=True)
class Student:
    """Linear ACE potential; active set and pair baseline where the folder holds them (else ``None``)."""

    potential: AcePotential
    active_set: ActiveSet | None = None
    baseline: PairBaseline | None = None

    def calculator(self, *, with_gamma: bool = True) -> AceCalculator:
        """Return an ASE calculator of ACE + baseline; ``with_gamma`` adds ``results['gamma']`` where γ is known."""
        return AceCalculator(self.potential, active_set=self.active_set if with_gamma else None, baseline=self.baseline)


def load_student(folder: str | Path) -> Student:
    """Read ``potential.yaml`` and, where present, ``potential.asi`` and ``baseline.json`` from ``folder``.

    Raises ``ValueError`` naming the folder when it holds no ``potential.yaml``.
    """
    folder = Path(folder)
    if not (folder / POTENTIAL_FILE).is_file():
        raise ValueError(f'{folder} holds no {POTENTIAL_FILE}: give the folder that the fit wrote')
    active_set, baseline = folder / ACTIVE_SET_FILE, folder / BASELINE_FILE
    return Student(
        potential=AcePotential.read(folder / POTENTIAL_FILE),
        active_set=ActiveSet.read(active_set) if active_set.is_file() else None,
        baseline=PairBaseline.from_json(baseline) if baseline.is_file() else None,
    )
