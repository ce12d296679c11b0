"""Molecules: followed to their end, with all that touches them, never charged; what is none is told in time."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, graphene, molecule
from ase.spacegroup import crystal
from cutout_parents import (
    magnesia_with_vacancies,
    pack,
    random_student,
    shaken,
    silicon_with_vacancy,
    water,
    water_on_copper,
)

from aiida_pyacemaker.science.config import CutoutConfig
from aiida_pyacemaker.science.cutout import LabelTheory, RejectedCutoutError, Workbench, cut_out, find_uncuttable
from aiida_pyacemaker.science.cutout.label_geometry import CutRequest
from aiida_pyacemaker.science.cutout.policies import POLICIES, choose_order
from aiida_pyacemaker.science.frames import SHELL_CORE
from aiida_pyacemaker.science.images import index_frame


def cut(frame, epicentre=0, **settings):
    bench = Workbench.prepare(frame, random_student(set(frame.get_chemical_symbols())), None)
    return cut_out(bench, epicentre, CutoutConfig(**settings))


def order_of(frame, epicentre=0, **settings):
    config = CutoutConfig(**settings)
    return choose_order(CutRequest(frame=index_frame(frame), epicentre=epicentre, config=config, theory=LabelTheory()))


def ammonium_chloride(repeat=4):
    """The CsCl structure of NH4Cl: four hydrogens towards every second chlorine."""
    edge, bond = 3.87, 1.03 / np.sqrt(3)
    corners = bond * np.array([(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)])
    cell = Atoms('NH4Cl', positions=[[0, 0, 0], *corners, [edge / 2] * 3], cell=[edge] * 3, pbc=True)
    return shaken(cell * repeat, 0.02)


def water_with_ions():
    """Return water, a proton moved from one molecule to another, and the oxygens of the new OH- and H3O+."""
    atoms = water()
    giver, taker = np.flatnonzero(atoms.numbers == 8)[[0, 62]].tolist()
    lengths = atoms.get_distances(giver, range(len(atoms)), mic=True)
    proton = int(np.flatnonzero((atoms.numbers == 1) & (lengths < 1.1))[0])
    others = [row for row in range(len(atoms)) if row not in (proton, taker)]

    def nearest(direction):
        atoms.positions[proton] = atoms.positions[taker] + 0.98 * direction
        return atoms.get_distances(proton, others, mic=True).min()

    directions = np.random.default_rng(0).normal(size=(300, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    assert nearest(max(directions, key=nearest)) > 1.3
    nearest(max(directions, key=nearest))
    return atoms, giver, taker


def alkane(n_carbons):
    """Return a straight chain along x, H-(CH2)n-H."""
    atoms = Atoms()
    for k in range(n_carbons):
        side = (-1) ** k
        x, y = 1.27 * k, 0.44 * side
        atoms += Atoms('CHH', positions=[[x, y, 0], [x, y + 0.63 * side, 0.89], [x, y + 0.63 * side, -0.89]])
    last = -((-1) ** (n_carbons - 1))
    ends = [[-0.9, -0.2, 0], [1.27 * (n_carbons - 1) + 0.9, 0.2 * last, 0]]
    return atoms + Atoms('HH', positions=ends)


def nonane():
    cell = alkane(9)
    cell.set_cell([14.0, 5.0, 5.0])
    cell.pbc = True
    return shaken(cell * (2, 5, 5), 0.03)


def fullerite():
    cell = molecule('C60')
    cell.set_cell([10.0] * 3)
    cell.pbc = True
    return shaken(cell * (3, 3, 3), 0.02)


@pytest.mark.parametrize('epicentre', [0, 5])
def test_salts_of_nonmetals_are_not_cut_into_neutral_molecules(epicentre):
    order, why = order_of(ammonium_chloride(), epicentre)
    assert order == ('whole_frame',) and 'Cl, H4N is an ion or a radical' in why
    with pytest.raises(RejectedCutoutError, match='is an ion or a radical'):
        cut(ammonium_chloride(), epicentre, policy='molecular', fallback=False)


@pytest.mark.parametrize(('which', 'formula'), [(1, 'HO'), (2, 'H3O')])
def test_an_ion_in_water_leaves_the_whole_frame_and_says_why(which, formula):
    made = water_with_ions()
    frame, epicentre = made[0], made[which]
    for radius in (0.0, 4.0):
        order, why = order_of(frame, epicentre, core_radius=radius)
        assert order == ('whole_frame',) and formula in why and 'ion or a radical' in why
    with pytest.raises(RejectedCutoutError, match=f'{formula}.* is an ion.*max_frame_atoms is 200'):
        cut(frame, epicentre)
    whole = cut(frame, epicentre, max_frame_atoms=400)
    assert whole.policy == 'whole_frame'


@pytest.mark.parametrize(
    'make', [water, lambda: pack('SiH4', 4.4, 4), lambda: pack('N2', 3.6, 5), lambda: pack('H2', 3.0, 5)]
)
def test_neutral_molecules_stay_molecules(make):
    """Also hydrogen, whose bond vibrates beyond 1.3 covalent sums."""
    frame = make()
    assert order_of(frame, core_radius=0.0) == (
        ('molecular', 'whole_frame'),
        'molecular: pieces that are bonded to nothing else',
    )
    cutout = cut(frame, core_radius=0.0)
    assert cutout.policy == 'molecular' and not cutout.report['label']['odd_electrons']


def test_nitric_oxide_is_a_radical():
    assert order_of(pack('NO', 3.8, 4))[0] == ('whole_frame',)


@pytest.mark.parametrize(('element', 'edge'), [('Xe', 6.1), ('Kr', 5.7), ('Ar', 5.3)])
def test_noble_gases_keep_their_twelve_neighbours(element, edge):
    """They are further off than the buffer of 3 Å; alone an atom has no force."""
    frame = shaken(bulk(element, 'fcc', a=edge, cubic=True) * (4, 4, 4), 0.05)
    label = cut(frame, core_radius=0.0, fallback=False).label
    assert len(label.atoms) >= 13 and label.report['n_buffer_left_out'] == 0
    nearest = np.sort(np.linalg.norm(label.atoms.positions - label.atoms.positions[0], axis=1))[1:13]
    assert np.allclose(nearest, np.sort(frame.get_distances(0, range(1, len(frame)), mic=True))[:12])


def test_what_touches_the_core_is_taken_or_nothing_is():
    """Chlorine at 3.3 to 4.1 Å is in contact; where the molecules that touch the core are too many, it is said."""
    frame = pack('Cl2', 4.6, 4)
    label = cut(frame, core_radius=0.0).label
    lengths = frame.get_distances(0, range(len(frame)), mic=True)
    assert set(np.flatnonzero(lengths <= 4.0)) <= set(label.parents.tolist())
    with pytest.raises(RejectedCutoutError, match=r'what touches the core have .* max_label_atoms is 30'):
        cut(water(), fallback=False, max_label_atoms=30)


def test_far_apart_the_nearest_molecule_is_there_all_the_same():
    label = cut(pack('CH4', 6.5, 4), core_radius=0.0, fallback=False).label
    assert label.report['n_molecules'] >= 2


@pytest.mark.parametrize(('make', 'size', 'limit'), [(fullerite, 60, 700), (nonane, 29, 130)])
def test_large_molecules_are_followed_to_their_end(make, size, limit):
    frame = make()
    cutout = cut(frame, core_radius=0.0, max_label_atoms=limit, whole_frame_cost_ratio=0.0)
    assert cutout.policy == 'molecular' and (cutout.label.parents >= 0).all()
    assert (np.bincount(cutout.label.parents // size) % size == 0).all()
    assert (cutout.label.shell == SHELL_CORE).sum() == 1


def test_a_molecule_of_more_atoms_than_a_label_may_have_is_a_network():
    assert order_of(fullerite(), max_label_atoms=50)[0] == ('covalent', 'whole_frame')
    assert order_of(shaken(bulk('Si', 'diamond', a=5.43, cubic=True), 0.05))[0] == ('covalent', 'whole_frame')


@pytest.mark.parametrize('make', [lambda: pack('H2O', 3.1, 3), lambda: molecule('C60'), lambda: molecule('C6H6')])
def test_molecules_in_a_small_cell_are_taken_whole_at_once(make):
    frame = make()
    cutout = cut(frame)
    assert cutout.policy == 'whole_frame' and [row['policy'] for row in cutout.report['tried']] == ['molecular']
    assert 'smaller than the cutout' in cutout.report['tried'][0]['reason']


def test_a_small_layer_is_taken_whole_at_once():
    """Not as a cluster with caps, which is what comes after a patch of a layer."""
    layer = shaken(graphene(size=(3, 3, 1), vacuum=8.0), 0.02)
    layer.pbc = True
    cutout = cut(layer, core_radius=0.0, whole_frame_cost_ratio=0.0)
    assert cutout.policy == 'whole_frame' and len(cutout.report['tried']) == 1


def test_a_free_particle_of_metal_has_no_box():
    particle = bulk('Cu', cubic=True) * (4, 4, 4)
    particle.center(8.0)
    order, why = order_of(particle)
    assert order == ('whole_frame',) and 'vacuum in 3 directions' in why
    assert order_of(fcc111('Cu', (6, 6, 3), vacuum=8.0))[0] == ('surface', 'whole_frame')


def test_atoms_squeezed_together_are_no_network_of_bonds():
    """Xenon at 3.5 Å, as iodine in its crystal, is closer than 1.3 covalent sums; caps would be wrong."""
    order, why = order_of(shaken(bulk('Xe', 'fcc', a=4.9, cubic=True) * (4, 4, 4), 0.02))
    assert order == ('whole_frame',) and 'contacts of Xe' in why


def test_far_from_the_edge_a_large_frame_costs_what_a_small_one_does():
    """Nothing but the neighbourhood is looked at: 10 times the molecules give the same label."""
    small, large = pack('H2O', 3.1, 6), pack('H2O', 3.1, 6) * (3, 2, 2)
    request = [
        CutRequest(frame=index_frame(frame), epicentre=0, config=CutoutConfig(core_radius=0.0), theory=LabelTheory())
        for frame in (small, large)
    ]
    labels = [POLICIES['molecular'](each) for each in request]
    assert np.allclose(labels[0].atoms.positions, labels[1].atoms.positions)


def magnetite():
    """Fe3O4, the inverse spinel: iron of two oxidation states."""
    places = [(0.125, 0.125, 0.125), (0.5, 0.5, 0.5), (0.2549,) * 3]
    cell = crystal(('Fe', 'Fe', 'O'), places, spacegroup=227, setting=2, cellpar=[8.396] * 3 + [90] * 3)
    return shaken(cell * (2, 2, 2), 0.04)


def test_what_cannot_be_cut_is_known_before_anything_is_run():
    settings = CutoutConfig()
    for frame in (water(), silicon_with_vacancy(), magnesia_with_vacancies()):
        assert find_uncuttable(frame, settings) == {}
    salt = find_uncuttable(ammonium_chloride(), settings)
    assert set(salt) == {'N', 'H', 'Cl'} and 'ion or a radical' in salt['Cl']
    assert find_uncuttable(ammonium_chloride(), CutoutConfig(max_frame_atoms=400)) == {}
    mixed = find_uncuttable(magnetite(), settings)
    assert set(mixed) == {'Fe', 'O'} and 'no oxidation states make the frame neutral' in mixed['O']
    adsorbed = find_uncuttable(water_on_copper(), CutoutConfig(max_frame_atoms=50))
    assert 'a metal beside molecules' in adsorbed['O']
