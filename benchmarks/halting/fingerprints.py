"""How far fingerprints of one environment move with time, and how far apart those of two defects are.

    .venv/bin/python benchmarks/halting/fingerprints.py

Relative distances of single MD snapshots; prints Markdown. Silicon by Stillinger and Weber, copper by effective
medium theory.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
import stillinger_weber
from ase import Atoms, units
from ase.build import bulk, diamond100
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from aiida_pyacemaker.science.md.engine import open_lammps
from aiida_pyacemaker.science.md.events import SAME_EVENT, event_distance, fingerprint

N_FRAMES = 10
Case = tuple[Atoms, list[int]]


def shake_silicon(atoms: Atoms, temperature_K: float) -> list[Atoms]:
    """Return snapshots 0.3 ps apart, after 1 ps."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / 'si.sw').write_text(stillinger_weber.LAMMPS_FILE)
        lmp = open_lammps(['-log', 'none', '-screen', 'none'])
        sides = ' '.join(f'0 {length:.12f}' for length in atoms.cell.lengths())
        lmp.commands_list(['units metal', 'atom_style atomic',
                           'boundary ' + ' '.join('p' if periodic else 's' for periodic in atoms.pbc),
                           f'region box block {sides}', 'create_box 1 box', 'mass 1 28.085'])  # fmt: skip
        lmp.create_atoms(len(atoms), None, [1] * len(atoms), atoms.positions.ravel())
        lmp.commands_list(['pair_style sw', f'pair_coeff * * {folder}/si.sw Si',
                           f'velocity all create {2 * temperature_K} 1', 'fix move all nve',
                           f'fix bath all langevin {temperature_K} {temperature_K} 0.1 1', 'run 1000'])  # fmt: skip
        frames = []
        for _ in range(N_FRAMES):
            lmp.command('run 300')
            moved = atoms.copy()
            moved.positions = np.array(lmp.gather_atoms('x', 1, 3)).reshape(-1, 3)
            frames.append(moved)
        lmp.close()
    return frames


def shake_copper(atoms: Atoms, temperature_K: float) -> list[Atoms]:
    """Return snapshots 0.24 ps apart, after 0.6 ps."""
    moving, rng = atoms.copy(), np.random.default_rng(1)
    moving.calc = EMT()
    MaxwellBoltzmannDistribution(moving, temperature_K=2 * temperature_K, rng=rng)
    dynamics = Langevin(moving, 4 * units.fs, temperature_K=temperature_K, friction=0.02, rng=rng, fixcm=False)
    dynamics.run(150)
    frames = []
    for _ in range(N_FRAMES):
        dynamics.run(60)
        frames.append(Atoms(moving.numbers, moving.positions, cell=moving.cell, pbc=moving.pbc))
    return frames


def neighbours(atoms: Atoms, count: int) -> list[int]:
    """Return the atoms nearest to atom 0."""
    return [int(row) for row in np.argsort(atoms.get_distances(0, range(len(atoms)), mic=True))[1 : count + 1]]


def silicon_cases() -> dict[str, Case]:
    """Return bulk, the neighbours of a vacancy, an interstitial and a surface."""
    crystal = bulk('Si', cubic=True, a=5.431) * 3
    vacancy, around = crystal.copy(), neighbours(crystal, 4)
    del vacancy[0]
    slab = diamond100('Si', (4, 4, 6), a=5.431, vacuum=8.0)
    slab.pbc = (True, True, False)
    top = [int(row) for row in np.argsort(-slab.positions[:, 2])[:3]]
    crowded = crystal + Atoms('Si', positions=[[2.7155] * 3])
    return {
        'bulk': (crystal, [0, 20, 50]),
        'vacancy': (vacancy, [row - 1 for row in around]),
        'interstitial': (crowded, [len(crystal)]),
        'surface': (slab, top),
    }


def copper_cases() -> dict[str, Case]:
    """Return bulk, the neighbours of a vacancy, of a gold atom, and that atom."""
    crystal = bulk('Cu', cubic=True) * 3
    vacancy, doped, around = crystal.copy(), crystal.copy(), neighbours(crystal, 3)
    del vacancy[0]
    doped.symbols[0] = 'Au'
    return {
        'bulk': (crystal, [0, 20, 50]),
        'vacancy': (vacancy, [row - 1 for row in around]),
        'beside gold': (doped, around),
        'gold': (doped, [0]),
    }


def main() -> None:
    """Print one table a temperature."""
    for name, cases, shake, temperatures in (
        ('silicon', silicon_cases(), shake_silicon, (300.0, 900.0)),
        ('copper', copper_cases(), shake_copper, (300.0, 700.0)),
    ):
        for temperature in temperatures:
            marks = {}
            for case, (atoms, rows) in cases.items():
                frames = shake(atoms, temperature)
                marks[case] = [[fingerprint(frame, row) for frame in frames] for row in rows]
            print(f'\n| {name}, {temperature:.0f} K | median | 10 % below | 90 % below | called one event |')
            print('|---|---|---|---|---|')
            same = [event_distance(*pair) for group in marks.values() for series in group
                    for pair in itertools.combinations(series, 2)]  # fmt: skip
            rows = {'one atom at two times': same}
            for one, other in itertools.combinations(marks, 2):
                rows[f'{one}, {other}'] = [event_distance(a, b) for left in marks[one] for right in marks[other]
                                           for a in left for b in right]  # fmt: skip
            for label, distances in rows.items():
                low, middle, high = np.quantile(distances, [0.1, 0.5, 0.9])
                called = np.mean(np.array(distances) <= SAME_EVENT)
                print(f'| {label} | {middle:.3f} | {low:.3f} | {high:.3f} | {100 * called:.1f} % |')


if __name__ == '__main__':
    main()
