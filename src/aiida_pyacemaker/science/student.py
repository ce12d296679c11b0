"""A fitted student as it lies in a folder: its potential, its active set and its baseline, together."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from .ace import AceCalculator, AcePotential, ActiveSet
from .baseline import PairBaseline

POTENTIAL_FILE, ACTIVE_SET_FILE, BASELINE_FILE = 'potential.yaml', 'potential.asi', 'baseline.json'
CANARY_FILE = 'canary.json'
CANARY_MAX_ATOMS = 64
CANARY_RATTLES = (0.3, 0.2, 0.1, 0.05, 0.02)  # Å, largest displacement along an axis
CANARY_SEED, CANARY_GRADES = 1, (1.05, 10.0)
CANARY_TOLERANCE = 1e-5  # relative; γ of an ill-conditioned active set is reproduced by other programs to no more


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

    Raises ``ValueError`` naming the folder when it holds no ``potential.yaml``, or files that are not of one fit: an
    active set of another shape, or one that the canary disagrees with.
    """
    folder = Path(folder)
    if not (folder / POTENTIAL_FILE).is_file():
        raise ValueError(f'{folder} holds no {POTENTIAL_FILE}: give the folder that the fit wrote')
    active_set, baseline = folder / ACTIVE_SET_FILE, folder / BASELINE_FILE
    potential = AcePotential.read(folder / POTENTIAL_FILE)
    student = Student(
        potential=potential,
        active_set=ActiveSet.read(active_set).of(potential) if active_set.is_file() else None,
        baseline=PairBaseline.from_json(baseline) if baseline.is_file() else None,
    )
    canary = read_canary(folder)
    if canary is not None and student.active_set is not None:
        try:
            check_canary(student, canary)
        except ValueError as error:
            raise ValueError(f'{folder}: {error}') from error
    return student


@dataclass(frozen=True, kw_only=True)
class Canary:
    """A small frame whose answer is known: who evaluates the student elsewhere must find the same.

    gamma: (n,) the grade of each atom, its maximum is what a run sees; energy: eV, ACE + baseline.
    """

    atoms: Atoms
    gamma: NDArray[np.float64]
    energy: float


def choose_canary(structures: Iterable[Atoms], elements: Iterable[str]) -> Atoms | None:
    """Return the smallest structure of at most 64 atoms, one periodic and with all ``elements`` preferred, or none."""
    wanted = set(elements)

    def badness(atoms: Atoms) -> tuple[int, bool, int]:
        return len(wanted - set(atoms.get_chemical_symbols())), not atoms.pbc.all(), len(atoms)

    small = [atoms for atoms in structures if 1 < len(atoms) <= CANARY_MAX_ATOMS]
    return min(small, key=badness, default=None)


def sharper_canary(student: Student, atoms: Atoms) -> Atoms:
    """Return a copy with atoms off their places by so little that the largest γ is told from 1, else ``atoms``.

    The largest γ of a frame with an active atom is 1 whatever the active set. The first of `CANARY_RATTLES` counts
    that gives one from 1.05 to 10: beyond that directions that nobody saw decide, and programs differ in them.
    """
    for amplitude in CANARY_RATTLES:
        rattled = atoms.copy()
        rattled.positions += amplitude * np.random.default_rng(CANARY_SEED).uniform(-1.0, 1.0, (len(atoms), 3))
        if CANARY_GRADES[0] <= float(grade_canary(student, rattled).gamma.max()) <= CANARY_GRADES[1]:
            return rattled
    return atoms


def grade_canary(student: Student, atoms: Atoms) -> Canary:
    """Return what ``student`` says about a frame; ``ValueError`` where it has no active set or is not finite there."""
    if student.active_set is None:
        raise ValueError('the student has no active set, expected one: a canary is known by its γ')
    atoms = atoms.copy()
    atoms.calc = student.calculator()
    energy = float(atoms.get_potential_energy())
    gamma = np.asarray(atoms.calc.results['gamma'], dtype=np.float64)
    if not (np.isfinite(gamma).all() and np.isfinite(energy)):
        raise ValueError('energy or γ of the canary is not finite, expected a frame of the training data')
    atoms.calc = None
    return Canary(atoms=atoms, gamma=gamma, energy=energy)


def write_canary(folder: str | Path, student: Student, atoms: Atoms) -> Canary:
    """Write ``canary.json`` beside the student's files: numbers, positions, cell, pbc, gamma (n,), energy."""
    canary = grade_canary(student, atoms)
    content = {
        'numbers': canary.atoms.numbers.tolist(),
        'positions': canary.atoms.positions.tolist(),
        'cell': canary.atoms.cell.tolist(),
        'pbc': canary.atoms.pbc.tolist(),
        'gamma': canary.gamma.tolist(),
        'energy': canary.energy,
    }
    (Path(folder) / CANARY_FILE).write_text(json.dumps(content))
    return canary


def read_canary(folder: str | Path) -> Canary | None:
    """Return the canary of a student's folder, ``None`` where it has none; ``ValueError`` names a damaged file."""
    path = Path(folder) / CANARY_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
        atoms = Atoms(**{name: content[name] for name in ('numbers', 'positions', 'cell', 'pbc')})
        gamma = np.asarray(content['gamma'], dtype=np.float64)
        if gamma.shape != (len(atoms),):
            raise ValueError(f'gamma has shape {gamma.shape}, expected ({len(atoms)},)')
        return Canary(atoms=atoms, gamma=gamma, energy=float(content['energy']))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{path} is not a canary: {error}; expected the file that the fit wrote') from error


def check_canary(student: Student, canary: Canary, *, tolerance: float = CANARY_TOLERANCE) -> None:
    """Raise ``ValueError`` where ``student`` disagrees with its canary: an ``.asi`` of another potential, for one.

    tolerance: relative, of max(1, value), for the largest γ and the energy an atom.
    """
    found = grade_canary(student, canary.atoms)
    count = len(canary.atoms)
    for name, unit, value, wanted in (
        ('largest γ', '', float(found.gamma.max()), float(canary.gamma.max())),
        ('energy an atom', ' eV', found.energy / count, canary.energy / count),
    ):
        if not abs(value - wanted) <= tolerance * max(1.0, abs(wanted)):
            raise ValueError(
                f'{name} of the canary is {value:.10g}{unit}, expected {wanted:.10g}{unit}: potential.yaml, .asi and '
                'baseline are not of one fit, or the engine is another: take all files from one fit.'
            )
