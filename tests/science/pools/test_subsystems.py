"""From a list of elements to crystals: the structure types are what their names say, the volumes are the teacher's."""

from math import comb
from typing import get_args

import numpy as np
import pytest
import spglib
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

from aiida_pyacemaker.science.config import PoolConfig
from aiida_pyacemaker.science.config.distillation import StructureTypeName
from aiida_pyacemaker.science.pools import Screen, count_systems, join_samples, make_pool
from aiida_pyacemaker.science.pools.structure_types import STRUCTURE_TYPES, crystals_of
from aiida_pyacemaker.science.pools.subsystems import relax_volume, relaxed_crystals, subsystems_of

# space group from the International Tables, coordination number of the first shell of the first species
KNOWN = {
    'fcc': (225, 12),
    'bcc': (229, 8),
    'hcp': (194, 12),
    'diamond': (227, 4),
    'sc': (221, 6),
    'B1': (225, 6),
    'B2': (221, 8),
    'B3': (216, 4),
    'L1_0': (123, 12),
    'L1_2': (221, 12),
    'D0_3': (225, 8),
    'C1': (225, 8),
    'rutile': (136, 6),
    'C1_b': (216, 8),
    'L2_1': (225, 8),
    'perovskite': (221, 12),
}


def test_every_allowed_name_is_a_structure_type():
    assert set(get_args(StructureTypeName)) == set(STRUCTURE_TYPES) == set(KNOWN)


@pytest.mark.parametrize('name', KNOWN)
def test_structure_types_have_the_symmetry_and_the_neighbours_of_their_names(name):
    kind = STRUCTURE_TYPES[name]
    atoms = kind.build(['Cu', 'Au', 'Pd'][: kind.n_elements])
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    assert spglib.get_symmetry_dataset(cell).number == KNOWN[name][0]
    first, distance = neighbor_list('id', atoms, 6.0)
    shell = distance[first == 0]
    # the two unequal metal-oxygen bonds of rutile differ by 2 %
    assert (shell < shell.min() * 1.05).sum() == KNOWN[name][1]


def test_the_closest_pair_lies_at_the_sum_of_the_radii():
    for _, atoms in (*crystals_of(['Mg', 'O']), *crystals_of(['Fe'])):
        first, second, distance = neighbor_list('ijd', atoms, 5.0)
        radii = covalent_radii[atoms.numbers]
        assert (distance / (radii[first] + radii[second])).min() == pytest.approx(1.0)


def test_all_subsets_up_to_the_size_asked_for():
    elements = ['Fe', 'Pt', 'Mg', 'O']
    for largest in (0, 1, 2, 3):
        assert len(subsystems_of(elements, largest=largest)) == sum(comb(4, k) for k in range(1, largest + 1))
    assert subsystems_of(['Pt', 'Fe', 'Pt'], largest=2) == [('Fe',), ('Pt',), ('Fe', 'Pt')]


def test_the_volume_is_the_calculators():
    _, copper = next(crystals_of(['Cu'], ['fcc']))
    best = relax_volume(copper, EMT())
    assert best.cell.lengths()[0] * np.sqrt(2) == pytest.approx(3.59, abs=0.01)  # EMT's lattice constant of copper
    assert copper.cell.lengths()[0] * np.sqrt(2) != pytest.approx(3.59, abs=0.01)


class Falling(Calculator):
    """Energy that falls as the volume grows; refuses small volumes."""

    implemented_properties = ('energy', 'forces')

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        if self.atoms.get_volume() < 8.0:
            raise ValueError('too dense')
        self.results = {'energy': -self.atoms.get_volume(), 'forces': np.zeros((len(self.atoms), 3))}


def test_a_crystal_without_a_minimum_is_counted_not_kept():
    config = PoolConfig(structure_types=('fcc', 'sc', 'B1'))
    kept, dropped = relaxed_crystals(['Cu'], config, Screen(calculator=Falling()))
    assert kept == [] and dropped == {'no_minimum': 2}


def test_a_pool_of_two_elements_holds_three_subsystems_and_each_is_a_piece():
    config = PoolConfig(
        subsystems=2, structure_types=('fcc', 'B2', 'L1_2'), n_strained=10, n_rattled=5, n_vacancy=0, n_md_frames=0
    )
    names = []

    def named(piece):
        names.append((piece.name, piece.index, piece.total))
        return piece.build()

    def pool(structures=()):
        rng = np.random.default_rng(0)
        pieces = make_pool(structures, config, calculator=EMT(), rng=rng, elements=['Cu', 'Au'], on_piece=named)
        return join_samples(pieces)

    sample = pool()
    assert [name for name, _, _ in names[:3]] == ['prototypes_Au', 'prototypes_Cu', 'prototypes_Au-Cu']
    assert [index for _, index, _ in names] == list(range(names[0][2])) and len(set(names)) == len(names)
    assert sample.dropped == {}
    # 1 + 1 + (B2, two L1_2) prototypes, 10 strained and 5 rattled over these five
    assert count_systems(sample.frames) == {'Au': 4, 'Au-Cu': 12, 'Cu': 4}
    assert len(set(sample.frames.group[:5])) == 5
    assert pool().frames.content_digest() == sample.frames.content_digest()
    assert count_systems(pool([bulk('Ni')]).frames)['Ni'] >= 1
