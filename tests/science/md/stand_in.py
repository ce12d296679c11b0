"""Potentials that are known in closed form, served through the engine."""

import os
from pathlib import Path

import numpy as np
from ase.build import bulk

from aiida_pyacemaker.science.config import ActiveLearningThresholds, MdConfig
from aiida_pyacemaker.science.md import Segment, read_log, write_script, write_structure
from aiida_pyacemaker.science.md.engine import Arguments, run_script

FIXTURES = Path(__file__).parents[2] / 'fixtures'
PAIR_LINES = ('pair_style pace/extrapolation', 'pair_coeff * * potential.yaml potential.asi Cu')


class LennardJones:
    """Shifted Lennard-Jones of ε = 0.4 eV, σ = 2.3 Å, γ = 0."""

    cutoff = 5.5

    def evaluate(self, elements, pairs, *, with_gamma):
        square = np.einsum('ij,ij->i', pairs.vectors, pairs.vectors)
        sixth, at_cutoff = (2.3**2 / square) ** 3, (2.3 / self.cutoff) ** 6
        energy = 0.5 * np.sum(1.6 * (sixth**2 - sixth - at_cutoff**2 + at_cutoff))
        slope = 1.6 * (6 * sixth - 12 * sixth**2) / square
        pull = 0.5 * slope[:, None] * pairs.vectors
        forces = np.zeros((len(elements), 3))
        np.add.at(forces, pairs.first, pull)
        np.add.at(forces, pairs.second, -pull)
        virial = -np.einsum('pa,pb->ab', pull, pairs.vectors)
        voigt = virial[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
        return energy, forces, voigt, np.zeros(len(elements)) if with_gamma else None


class Table:
    """No forces; γ of set-up, then of every check, from a table (n_checks + 1, n_atoms)."""

    cutoff = 3.0

    def __init__(self, gamma):
        self.rows = iter(np.asarray(gamma, dtype=float))

    def evaluate(self, elements, pairs, *, with_gamma):
        n = len(elements)
        return 0.0, np.zeros((n, 3)), np.zeros(6), next(self.rows) if with_gamma else None


def copper(size=2):
    return bulk('Cu', cubic=True, a=3.6) * (size, size, size)


def run_segment(folder, load, *, md=None, rule=None, atoms=None, elements=('Cu',), watched=None, **segment):
    """Run one segment in ``folder`` from start.data (made of ``atoms``) or start.restart; return its log."""
    folder.mkdir(exist_ok=True)
    for name in ('potential.yaml', 'potential.asi'):
        (folder / name).write_bytes((FIXTURES / 'md' / name).read_bytes())
    segment = Segment(
        md=MdConfig(**{'n_steps': 100, 'dump_every': 10, 'timestep_ps': 0.002, **(md or {})}),
        thresholds=ActiveLearningThresholds(**(rule or {})),
        elements=elements,
        **{'pair_lines': PAIR_LINES, 'seed': 1, 'from_restart': (folder / 'start.restart').exists(), **segment},
    )
    if not segment.from_restart:
        write_structure(folder / 'start.data', copper() if atoms is None else atoms, elements)
    (folder / 'in.lmp').write_text(write_script(segment))
    return run_in(folder, load, watched=watched), read_log((folder / 'log.lammps').read_text())


def run_in(folder, load, *flags, watched=None):
    """Run in.lmp in ``folder`` without a screen; return the exit status."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        passed = ['-log', 'log.lammps', '-screen', 'none', *flags]
        return run_script(Arguments(Path('in.lmp'), passed, watched=watched), load)
    finally:
        os.chdir(before)
