"""Exact limits of what decides about an SCF: pace, cost, electrons, boxes, rigid-body forces, headers."""

import math
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from aiida_pyacemaker.science.dft import (
    CostModel,
    check_electrons,
    choose_isolation,
    closest_pair,
    count_electrons,
    deal_lanes,
    find_insanity,
    fit_cost_model,
    group_moments,
    is_closed_shell,
    order_frames,
    predict_more_steps,
    put_in_box,
    read_accuracies,
    rigid_body_force,
    scf_work,
)
from aiida_pyacemaker.science.dft.upf import check_functionals, read_header


def test_pace_is_the_slope_of_the_logarithm():
    falling = 10.0 ** -np.arange(0, 6, 0.5)  # half a decade a step, down to 10^-5.5
    assert predict_more_steps(falling, 1e-8) == pytest.approx(5.0)
    assert predict_more_steps(falling, 1e-3) == 0.0
    assert predict_more_steps(falling[:3], 1e-8) == math.inf
    assert predict_more_steps(falling[::-1], 1e-8) == math.inf
    assert predict_more_steps(np.full(40, 0.1), 1e-8) == math.inf
    assert predict_more_steps([np.nan, *falling], 1e-8) == pytest.approx(5.0)


def test_accuracies_are_read_in_both_notations():
    line = '     estimated scf accuracy    < {} Ry'
    text = '\n junk\n'.join(line.format(value) for value in ('      0.37971026', '         3.1E-09'))
    assert read_accuracies(text).tolist() == [0.37971026, 3.1e-09]
    assert len(read_accuracies('nothing')) == 0


def test_cost_model_recovers_a_power_law_and_stays_a_guess_without_runs():
    work = np.array([1e8, 3e8, 2e9, 5e9, 1e10])
    model = fit_cost_model(work, 2e-7 * work**0.8)
    assert (model.exponent, model.n_runs) == (pytest.approx(0.8), 5)
    assert model.predict(4e9) == pytest.approx(2e-7 * 4e9**0.8)
    assert fit_cost_model(work[:3], work[:3]) == CostModel()
    alike = fit_cost_model([1e8] * 6, [3.0, 3.0, 3.0, 3.0, 3.0, 90.0])
    assert alike.exponent == CostModel.exponent and alike.predict(1e8) == pytest.approx(3.0)


def test_work_counts_what_an_scf_is_made_of():
    atoms = bulk('Si', 'diamond', a=5.43)
    one = {'n_electrons': 8.0, 'ecutwfc_Ry': 20.0, 'n_kpoints': 1, 'n_spins': 1}
    work = scf_work(atoms, **one)
    assert scf_work(atoms, **{**one, 'n_kpoints': 8, 'n_spins': 2}) == pytest.approx(16 * work)
    assert scf_work(atoms * (2, 1, 1), **{**one, 'n_electrons': 16.0}) == pytest.approx(8 * work)
    assert scf_work(atoms, **{**one, 'ecutwfc_Ry': 80.0}) == pytest.approx(8 * work)


def test_lanes_take_the_dearest_first_or_what_is_worth_most():
    assert deal_lanes([1.0, 64.0, 27.0, 27.0, 8.0], 2) == [[1], [2, 3, 4, 0]]
    assert deal_lanes([1.0], 4) == [[0]] and deal_lanes([], 2) == []
    assert order_frames([2.0, 1.0, 4.0], [2.0, 3.0, 4.0]) == [1, 0, 2]
    assert order_frames([2.0, 1.0]) == [0, 1]
    assert deal_lanes([2.0, 1.0, 4.0], 2, [1, 0, 2]) == [[1, 2], [0]]


@pytest.mark.parametrize(
    ('electrons', 'spins', 'fixed', 'capped', 'words'),
    [
        (8.0, 1, True, True, None),
        (7.0, 1, False, False, None),
        (7.0, 2, True, True, None),
        (7.0, 1, True, False, 'odd without spin in fixed occupations'),
        (7.0, 1, False, True, 'odd without spin in a capped cluster'),
        (7.5, 2, False, True, 'no whole number in a capped cluster'),
        (7.5, 1, False, False, None),
        (0.0, 1, False, False, 'the charge takes them all'),
    ],
)
def test_parity_matters_under_fixed_occupations_and_caps(electrons, spins, fixed, capped, words):
    said = check_electrons(electrons, n_spins=spins, fixed_occupations=fixed, is_capped_cluster=capped)
    assert said is None if words is None else words in said


def test_fractional_caps_close_a_shell_where_they_add_up_to_an_even_number():
    """Gallium with four caps of 1.25, as a UPF file rounds them; one cap missing leaves 6.75 electrons."""
    valence = {'Ga': 3.0, 'H31': 1.2499}
    assert is_closed_shell(count_electrons(['Ga', *['H31'] * 4], valence))
    assert not is_closed_shell(count_electrons(['Ga', *['H31'] * 3], valence))
    assert not is_closed_shell(7.0) and not is_closed_shell(7.0004) and is_closed_shell(7.9996)


def test_charge_takes_electrons_away():
    assert count_electrons(['Si', 'H', 'H'], {'Si': 4.0, 'H': 1.0}, charge=1.0) == 5.0


def test_atoms_too_close_are_named_across_cell_walls():
    atoms = Atoms('H2', positions=[[0.1, 0, 0], [4.8, 0, 0]], cell=[5, 5, 5], pbc=True)
    assert closest_pair(atoms).startswith('atoms 0 and 1 are 0.300 Å apart')
    atoms.pbc = False
    assert closest_pair(atoms) is None
    atoms.positions[0, 0] = np.nan
    assert 'not a finite number' in closest_pair(atoms)


def test_moments_of_one_element_are_told_apart_by_sign_whatever_their_number():
    tags, starts = group_moments([26] * 4 + [8], [2.2, -2.2, 2.2, -2.2, 0.0])
    assert tags.tolist() == [2, 1, 2, 1, 0] and starts.tolist() == [2.2, -2.2, 2.2, -2.2, 0.0]
    moments = np.random.default_rng(3).uniform(-3, 3, size=200)
    tags, starts = group_moments([26] * 200, moments)
    assert len(set(tags.tolist())) <= 10
    assert np.abs(starts - moments).max() < 1.0 and (np.sign(starts) == np.sign(moments))[np.abs(moments) > 1].all()
    assert group_moments([14, 14], [0.0, 0.0])[0].tolist() == [0, 0]


def test_images_are_cut_off_only_where_the_box_allows_it():
    water = molecule('H2O')
    assert choose_isolation(put_in_box(water, 6.0)) == 'martyna-tuckerman'
    assert choose_isolation(put_in_box(water, 2.0)) is None
    tilted = put_in_box(water, 8.0)
    tilted.cell[0, 1] = 1.0
    assert choose_isolation(tilted) is None
    assert choose_isolation(bulk('Si')) is None
    slab = fcc111('Al', (1, 1, 3), vacuum=6.0)
    assert slab.pbc.tolist() == [True, True, False] and choose_isolation(slab) == '2D'
    assert choose_isolation(fcc111('Al', (1, 1, 5), vacuum=3.0)) is None
    layer = fcc111('Al', (1, 1, 1), vacuum=5.0)
    assert choose_isolation(layer) is None, 'pw.x refuses a cell of less than 20 bohr'


def test_a_missing_box_is_made_and_a_given_one_kept():
    boxed = put_in_box(molecule('H2O'), 5.0)
    extent = np.ptp(molecule('H2O').positions, axis=0)
    assert np.allclose(boxed.cell.lengths(), extent + 10.0)
    given = molecule('H2O', vacuum=1.0)
    assert np.array_equal(put_in_box(given, 5.0).positions, given.positions)


def test_rigid_body_forces_of_exact_cases():
    positions = molecule('C6H6').positions
    translation = np.tile([0.0, 0.3, 0.4], (len(positions), 1))
    assert rigid_body_force(positions, translation) == (pytest.approx(0.5), pytest.approx(0.0, abs=1e-12))
    arms = positions - positions.mean(axis=0)
    rotation = np.cross([0.0, 0.0, 0.2], arms)
    net, torque = rigid_body_force(positions, rotation)
    assert net == pytest.approx(0.0, abs=1e-12)
    assert torque == pytest.approx(np.sqrt((rotation**2).sum(axis=1).mean()))
    breathing = rigid_body_force(positions, arms)
    assert breathing == (pytest.approx(0.0, abs=1e-12), pytest.approx(0.0, abs=1e-12))
    assert np.isfinite(rigid_body_force(molecule('H2').positions, np.zeros((2, 3)))).all()


def test_what_is_not_a_label_says_why():
    positions, limits = molecule('H2O').positions, {'force_limit': 10.0, 'rigid_force_limit': 0.1}
    still = np.zeros((3, 3))
    assert find_insanity(-1.0, positions, still, is_cluster=True, **limits) is None
    assert 'not finite' in find_insanity(np.nan, positions, still, is_cluster=True, **limits)
    assert 'not finite' in find_insanity(-1.0, positions, still + np.inf, is_cluster=False, **limits)
    assert 'largest force 17.3' in find_insanity(-1.0, positions, still + 10.0, is_cluster=False, **limits)
    assert 'net force' in find_insanity(-1.0, positions, still + 0.2, is_cluster=True, **limits)
    assert find_insanity(-1.0, positions, still + 0.2, is_cluster=False, **limits) is None


def test_functionals_are_read_from_headers():
    folder = Path('/usr/share/espresso/pseudo')
    names = {'Si': 'Si.pz-vbc.UPF', 'H': 'H.pz-vbc.UPF', 'C': 'C.pbe-van_bm.UPF'}
    texts = {element: (folder / name).read_text(errors='replace')[:40000] for element, name in names.items()}
    assert read_header(texts['C']).functional == 'PBE'
    assert check_functionals({key: texts[key] for key in ('Si', 'H')}, port='pw.pseudos') is None
    message = check_functionals(texts, port='pw.pseudos')
    assert 'LDA: H, Si' in message and 'PBE: C' in message
