"""Every policy on several hot structures: both geometries accepted, core and neighbours as MD had them."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.neighborlist import neighbor_list
from cutout_parents import (
    aluminium_with_interstitial,
    copper_liquid,
    copper_slab,
    gallium_arsenide,
    graphene_layer,
    iron,
    magnesia_slab_with_vacancies,
    magnesia_with_vacancies,
    methane,
    molybdenum_disulfide,
    random_student,
    shaken,
    silicon_amorphous,
    silicon_with_vacancy,
    water,
    water_on_copper,
)

from aiida_pyacemaker.science.ace import evaluate
from aiida_pyacemaker.science.config import CutoutConfig
from aiida_pyacemaker.science.cutout import LabelTheory, RejectedCutoutError, Workbench, cut_out
from aiida_pyacemaker.science.cutout.acceptance import FORCE_TOLERANCE, OVERLAP_RATIO, PROJECTION_TOLERANCE
from aiida_pyacemaker.science.cutout.charges import dipole, point_charges
from aiida_pyacemaker.science.cutout.label_geometry import CutRequest
from aiida_pyacemaker.science.cutout.policies import choose_order
from aiida_pyacemaker.science.cutout.theory import count_kpoints, valence_electrons
from aiida_pyacemaker.science.frames import SHELL_CAP, SHELL_CORE, SHELL_FROZEN
from aiida_pyacemaker.science.images import index_frame, smallest_distance_ratio

ONE_ATOM = CutoutConfig(core_radius=0.0, fallback=False, whole_frame_cost_ratio=0.0)
CAPS_OF_GAAS = LabelTheory(cap_charges={31: 1.25, 33: 0.75})
CASES = [
    (silicon_with_vacancy, 'covalent'),
    (silicon_amorphous, 'covalent'),
    (gallium_arsenide, 'covalent'),
    (water, 'molecular'),
    (methane, 'molecular'),
    (aluminium_with_interstitial, 'metal'),
    (iron, 'metal'),
    (copper_liquid, 'metal'),
    (magnesia_with_vacancies, 'ionic'),
    (magnesia_slab_with_vacancies, 'surface'),
    (copper_slab, 'surface'),
    (graphene_layer, 'surface'),
    (molybdenum_disulfide, 'surface'),
]


def prepare(frame, calculator=None, theory=CAPS_OF_GAAS):
    return Workbench.prepare(frame, random_student(set(frame.get_chemical_symbols())), calculator, theory)


def request_of(frame, epicentre=0, config=ONE_ATOM):
    return CutRequest(frame=index_frame(frame), epicentre=epicentre, config=config, theory=LabelTheory())


def environment(atoms, row, radius):
    """Return the sorted distances to, and numbers of, what lies within ``radius`` of an atom."""
    first, second, length = neighbor_list('ijd', atoms, radius)
    mine = first == row
    return sorted(zip(np.round(length[mine], 6).tolist(), atoms.numbers[second[mine]].tolist(), strict=True))


def coordination(atoms, radius):
    return np.bincount(neighbor_list('i', atoms, radius), minlength=len(atoms))


@pytest.mark.parametrize(('make', 'policy'), CASES, ids=[make.__name__ for make, _ in CASES])
def test_both_geometries_are_accepted(make, policy):
    frame = make()
    bench = prepare(frame)
    forces = evaluate(bench.potential, frame).forces
    for epicentre in np.random.default_rng(1).choice(len(frame), 2, replace=False).tolist():
        cutout = cut_out(bench, epicentre, ONE_ATOM)
        assert (cutout.policy, cutout.report['tried']) == (policy, [])
        training, label = cutout.training, cutout.label
        core = training.shell == SHELL_CORE
        assert training.parents[core].tolist() == label.parents[label.shell == SHELL_CORE].tolist() == [epicentre]
        here = evaluate(bench.potential, training.atoms).forces[core]
        assert np.abs(here - forces[epicentre]).max() <= FORCE_TOLERANCE
        assert cutout.report['training']['core_projection_error'] <= PROJECTION_TOLERANCE
        check_label(frame, cutout, epicentre)


def check_label(frame, cutout, epicentre):
    """No overlap, a whole and even number of electrons, and every frozen atom with the bonds it had."""
    label, report = cutout.label, cutout.report['label']
    assert smallest_distance_ratio(label.atoms) >= OVERLAP_RATIO
    assert report['n_electrons'] == round(CAPS_OF_GAAS.electrons(label.atoms, label.shell))
    if cutout.policy in ('covalent', 'molecular', 'ionic'):
        assert not report['odd_electrons']
    row = int(np.flatnonzero(label.shell == SHELL_CORE)[0])
    frozen = label.shell == SHELL_FROZEN
    bonds = np.sort(label.atoms.get_distances(row, np.flatnonzero(frozen), mic=True))
    there = np.sort(frame.get_distances(epicentre, label.parents[frozen], mic=True))
    assert np.allclose(bonds, there, atol=1e-9)
    if label.atoms.pbc.any():
        assert abs(report['density_ratio'] - 1) < 0.1
        bond = float(bonds.max(initial=2.0)) + 0.3
        assert environment(label.atoms, row, bond) == environment(frame, epicentre, bond)


@pytest.mark.parametrize('kind', ['fcc', 'bcc', 'rocksalt', 'diamond'])
def test_a_perfect_crystal_comes_back_as_a_perfect_crystal(kind):
    """Each site once: the box of a crystal has the crystal's density and all its bonds."""
    elements = {'fcc': ('Al', 4.05), 'bcc': ('Fe', 2.87), 'rocksalt': ('MgO', 4.21), 'diamond': ('Si', 5.43)}
    name, edge = elements[kind]
    frame = bulk(name, kind, a=edge, cubic=True) * (5, 5, 5)
    config = CutoutConfig(core_radius=0.0, policy='metal', fallback=False, whole_frame_cost_ratio=0.0)
    label = cut_out(prepare(frame), 7, config).label
    per_atom = frame.get_volume() / len(frame)
    assert len(label.atoms) * per_atom == pytest.approx(label.atoms.get_volume(), rel=1e-9)
    wanted = environment(frame, 0, 0.8 * edge)
    for row in range(len(label.atoms)):
        assert [length for length, _ in environment(label.atoms, row, 0.8 * edge)] == pytest.approx(
            [length for length, _ in wanted], abs=1e-5
        )
    assert not label.boundary.any() and label.atoms.get_volume() < frame.get_volume()


def test_a_vacancy_stays_a_vacancy_and_an_interstitial_one_atom_too_many():
    frame = aluminium_with_interstitial()
    box = cut_out(prepare(frame), len(frame) - 1, ONE_ATOM).label
    sites = box.atoms.get_volume() / (4.05**3 / 4)
    assert len(box.atoms) == round(sites) + 1
    hole = bulk('Al', 'fcc', a=4.05, cubic=True) * (5, 5, 5)
    near = int(np.argsort(hole.get_distances(0, range(500), mic=True))[1])
    del hole[0]
    box = cut_out(prepare(shaken(hole, 0.05)), near - 1, ONE_ATOM).label
    assert len(box.atoms) == round(box.atoms.get_volume() / (4.05**3 / 4)) - 1


def test_ions_add_up_to_no_charge():
    frame = magnesia_with_vacancies()
    bench = prepare(frame)
    hole = int(np.argmin(coordination(frame, 2.6)))
    cutout = cut_out(bench, hole, ONE_ATOM)
    numbers = cutout.label.atoms.numbers
    assert (numbers == 12).sum() == (numbers == 8).sum()
    report = cutout.report['label']
    assert report['formal_charge'] == 0 and report['oxidation_states'] == {'Mg': 2, 'O': -2}
    assert report['n_ions_left_out'] in (0, 1)


def test_a_patch_of_an_ionic_slab_adds_up_to_no_charge():
    frame = magnesia_slab_with_vacancies()
    bench = prepare(frame)
    left_out = []
    for epicentre in range(0, len(frame), 40):
        cutout = cut_out(bench, epicentre, ONE_ATOM)
        numbers, report = cutout.label.atoms.numbers, cutout.report['label']
        assert cutout.policy == 'surface' and (numbers == 12).sum() == (numbers == 8).sum()
        assert report['formal_charge'] == 0 and report['oxidation_states'] == {'Mg': 2, 'O': -2}
        left_out.append(report['n_ions_left_out'])
    assert set(left_out) == {0, 1}


def test_seams_of_a_liquid_are_handed_to_the_teacher():
    frame = copper_liquid()
    cutout = cut_out(prepare(frame, EMT()), 17, ONE_ATOM)
    relaxation = cutout.report['relaxation']
    assert cutout.label.boundary.any() and relaxation['max_displacement_A'] <= ONE_ATOM.max_displacement
    assert relaxation['max_force_after_eV_per_A'] <= relaxation['max_force_before_eV_per_A']
    kept = ~cutout.label.boundary
    original = frame.get_distances(17, cutout.label.parents[kept], mic=True)
    row = int(np.flatnonzero(cutout.label.shell == SHELL_CORE)[0])
    moved = cutout.label.atoms.get_distances(row, np.flatnonzero(kept), mic=False)
    assert np.allclose(moved[original < 5.0], original[original < 5.0], atol=1e-9)


def test_odd_electrons_around_a_vacancy_find_a_partner():
    frame = silicon_with_vacancy()
    bench = prepare(frame)
    beside = np.flatnonzero(coordination(frame, 2.9) == 3)
    cutouts = [cut_out(bench, row, ONE_ATOM) for row in beside[:4].tolist()]
    assert len(cutouts) >= 3
    assert all(not cutout.report['label']['odd_electrons'] for cutout in cutouts)
    ways = {cutout.report['label']['parity'] for cutout in cutouts}
    assert ways & {'partner joined', 'dangling bond capped', 'cap left out'}


def test_fractional_caps_close_every_bond_with_two_electrons():
    frame = gallium_arsenide()
    cutout = cut_out(prepare(frame), 30, ONE_ATOM)
    label = cutout.label
    bonds = len(neighbor_list('i', label.atoms, {('Ga', 'As'): 3.1, ('Ga', 'H'): 1.8, ('As', 'H'): 1.8})) // 2
    assert cutout.report['label']['n_electrons'] == 2 * bonds and (label.shell == SHELL_CAP).sum() > 20
    with pytest.raises(RejectedCutoutError, match='give a pseudopotential H3'):
        cut_out(prepare(frame, theory=LabelTheory()), 30, ONE_ATOM)


def test_point_charges_add_to_zero_and_know_the_direction():
    water_molecule = Atoms('OHH', positions=[[0, 0, 0.119], [0, 0.763, -0.477], [0, -0.763, -0.477]])
    charges = point_charges(water_molecule)
    assert charges.sum() == pytest.approx(0.0, abs=1e-12) and charges[0] < 0 < charges[1]
    assert 1.0 < dipole(water_molecule) < 3.0  # measured: 1.85 D
    assert dipole(Atoms('HH', positions=[[0, 0, 0], [0, 0, 0.74]])) == 0.0


def test_the_whole_frame_is_taken_where_it_costs_little_more():
    """Si64 with a coarse mesh against its own cluster of 65 atoms in vacuum; with a fine mesh the cluster wins."""
    frame = shaken(bulk('Si', 'diamond', a=5.43, cubic=True) * (2, 2, 2), 0.05)
    config = CutoutConfig(core_radius=0.0)
    coarse = cut_out(prepare(frame, theory=LabelTheory(kpoints_distance=1.0)), 5, config)
    assert coarse.policy == 'whole_frame' and coarse.report['cost']['instead_of'] == 'covalent'
    assert coarse.report['cost']['frame_over_cutout'] <= 1.3 and (coarse.training.shell == SHELL_CORE).all()
    fine = cut_out(prepare(frame, theory=LabelTheory(kpoints_distance=0.15)), 5, config)
    assert fine.policy == 'covalent' and fine.report['cost']['frame_over_cutout'] > 1.3


def test_counts_of_electrons_and_kpoints():
    known = {'H': 1, 'Li': 1, 'C': 4, 'O': 6, 'Mg': 2, 'Si': 4, 'Fe': 8, 'Cu': 11, 'Zn': 12, 'Ga': 3, 'As': 5, 'Ag': 11}
    known |= {'Sn': 4, 'Au': 11, 'Pb': 4, 'Mo': 6, 'W': 6}
    assert {symbol: valence_electrons(Atoms(symbol).numbers[0]) for symbol in known} == known
    cube = Atoms('Cu', cell=[5.0] * 3, pbc=True)
    brute = {tuple(sorted([(i, j, k), (-i % 3, -j % 3, -k % 3)])) for i, j, k in np.ndindex(3, 3, 3)}
    assert count_kpoints(cube, 2 * np.pi / 15.0) == len(brute) == 14
    brute = {tuple(sorted([(i, j, 0), (-i % 4, -j % 4, 0)])) for i, j in np.ndindex(4, 4)}
    cube.pbc = [True, True, False]
    assert count_kpoints(cube, 2 * np.pi / 20.0) == len(brute) == 10


@pytest.mark.parametrize(
    ('make', 'kind', 'first'),
    [
        (silicon_with_vacancy, 'covalent', 'covalent'),
        (gallium_arsenide, 'covalent', 'covalent'),
        (water, 'molecular', 'molecular'),
        (iron, 'metal', 'metal'),
        (magnesia_with_vacancies, 'ionic', 'ionic'),
        (graphene_layer, 'covalent', 'surface'),
        (molybdenum_disulfide, 'metal', 'surface'),
        (water_on_copper, 'mixed', 'whole_frame'),
    ],
)
def test_bonding_is_told_from_the_structure(make, kind, first):
    order, why = choose_order(request_of(make(), config=CutoutConfig(core_radius=0.0)))
    assert why.startswith(kind) and order[0] == first and order[-1] == 'whole_frame'
