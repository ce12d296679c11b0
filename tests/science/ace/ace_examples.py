"""Structures, potentials and reference values the ACE tests share."""

import json
import re
from pathlib import Path

import numpy as np
import yaml
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.science.ace import AcePotential, build_potential
from aiida_pyacemaker.science.config import FitConfig

FIXTURES = Path(__file__).parents[2] / 'fixtures' / 'ace'
MIXED = FIXTURES.parent / 'ace_mixed'
LINEAR = ('Cu_ChebExpCos_lin', 'Cu_ChebLinear_lin', 'Cu_SBessel_lin')


def reference(name):
    """Return potential, basis and [(atoms, values)] of a fixture."""
    values = json.loads((FIXTURES / f'{name}.json').read_text())['structures']
    basis = json.loads((FIXTURES / f'{name}_basis.json').read_text())['functions']
    frames = [(Atoms(v['symbols'], v['positions'], cell=v['cell'], pbc=v['pbc']), v) for v in values]
    return AcePotential.read(FIXTURES / f'{name}.yaml'), basis, frames


def reference_names():
    """Return the names of all potentials with reference values, a `.yaml` and `.yace` of pyace each."""
    return sorted(path.stem for path in FIXTURES.glob('*.yaml'))


def read_yace(path):
    """Return the document of a .yace; its bonds are keyed by sequences, which PyYAML cannot hash."""
    return yaml.safe_load(re.sub(r'^  \[(\d+), (\d+)\]:', r'  \1-\2:', Path(path).read_text(), flags=re.MULTILINE))


def with_random_coefficients(potential, seed=0):
    """Return the potential with coefficients that make every rank count."""
    table = potential.function_table()
    size = np.random.default_rng(seed).normal(size=len(table))
    return potential.with_coefficients(size * 0.3 / 4.0 ** table['rank'])


def binary_potential(base='SBessel'):
    """Return a small two-element potential of all ranks."""
    functions = {'ALL': {'nradmax_by_orders': (5, 3, 2, 1, 1), 'lmax_by_orders': (0, 2, 2, 2, 1)}}
    basis = {'bonds': {'ALL': {'radbase': base}}, 'functions': functions}
    config = FitConfig(basis=basis, cutoff=4.2, number_of_functions_per_element=160)
    potential = with_random_coefficients(build_potential(['Ni', 'Al'], config))
    return potential.with_reference_energies({'Al': -1.5, 'Ni': -2.5})


def alloy():
    """Return a rattled, sheared cell of AlNi with one close pair inside the inner cut-off."""
    atoms = bulk('NiAl', 'cesiumchloride', a=2.9, cubic=True) * (2, 2, 1)
    atoms.set_cell(atoms.cell @ (np.eye(3) + [[0.02, 0.03, 0], [0, -0.01, 0.04], [0.01, 0, 0.02]]), scale_atoms=True)
    atoms.positions += np.random.default_rng(3).normal(scale=0.12, size=(len(atoms), 3))
    atoms.positions[1] += 0.28 * atoms.get_distance(1, 0, vector=True)
    return atoms
