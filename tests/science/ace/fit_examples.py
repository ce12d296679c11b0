"""Labelled frames of a known potential: what a fit must give back."""

import numpy as np
from ace_examples import with_random_coefficients
from ase.build import bulk

from aiida_pyacemaker.science.ace import build_potential, evaluate
from aiida_pyacemaker.science.baseline import fit_baseline
from aiida_pyacemaker.science.config import FitConfig
from aiida_pyacemaker.science.frames import Frames

CONFIG = FitConfig(cutoff=4.5, number_of_functions_per_element=30, ridge=1e-14, ridge_floor=1e-16)
ELEMENTS = ('Al', 'Ni')
BASELINE = fit_baseline(ELEMENTS, 'ZBL')


def true_potential():
    """Return two elements, 30 functions each, random coefficients and reference energies."""
    potential = with_random_coefficients(build_potential(ELEMENTS, CONFIG))
    return potential.with_reference_energies({'Al': -3.5, 'Ni': -5.25})


def labelled_frames(count, seed, *, amplitude=0.15, elements=ELEMENTS, theory='teacher'):
    """Return rattled, strained fcc cells with energies, forces and stresses of the true potential + baseline."""
    rng = np.random.default_rng(seed)
    potential, structures, energies, forces, stresses = true_potential(), [], [], [], []
    for _ in range(count):
        atoms = bulk('Al', 'fcc', a=3.8 * rng.uniform(0.95, 1.06), cubic=True) * (2, 1, 1)
        atoms.symbols = rng.choice(elements, len(atoms))
        atoms.set_cell(atoms.cell @ (np.eye(3) + rng.normal(scale=0.03, size=(3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(scale=amplitude, size=(len(atoms), 3))
        found, pair = evaluate(potential, atoms), BASELINE.evaluate(atoms)
        structures.append(atoms)
        energies.append(found.energies.sum() + pair[0].sum())
        forces.append(found.forces + pair[1])
        stresses.append(found.stress + pair[2])
    return Frames.from_atoms(
        structures,
        energy=energies,
        forces=np.concatenate(forces),
        stress=np.array(stresses),
        label_mask=np.full(count, 7, dtype='u1'),
        theory_id=np.zeros(count, dtype=int),
    ).with_columns(theories=({'kind': theory},))
