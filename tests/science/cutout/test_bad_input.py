"""What cannot be cut is refused or falls back with a reason; there is never a wrong label."""

import numpy as np
import pytest
from ase.build import bulk, molecule
from cutout_parents import (
    copper_slab,
    graphene_layer,
    iron,
    magnesia_with_vacancies,
    random_student,
    silicon_with_vacancy,
)

from aiida_pyacemaker.science.config import CutoutConfig
from aiida_pyacemaker.science.cutout import RejectedCutoutError, Workbench, cut_out
from aiida_pyacemaker.science.frames import SHELL_CORE


def cut(frame, epicentre=0, **settings):
    bench = Workbench.prepare(frame, random_student(set(frame.get_chemical_symbols())), None)
    return cut_out(bench, epicentre, CutoutConfig(**settings))


def test_a_cell_smaller_than_the_cutout_is_taken_whole_and_says_so():
    cutout = cut(bulk('Si', 'diamond', a=5.43, cubic=True), core_radius=0.0)
    assert cutout.policy == 'whole_frame' and (cutout.training.shell == SHELL_CORE).all()
    assert 'smaller than the cutout' in cutout.report['tried'][0]['reason']
    metal = cut(bulk('Al', 'fcc', a=4.05, cubic=True) * (2, 2, 2), core_radius=0.0)
    assert metal.policy == 'whole_frame' and metal.report['tried'][0]['policy'] == 'metal'


@pytest.mark.parametrize('column', ['positions', 'cell'])
def test_a_frame_that_is_not_finite_is_refused(column):
    frame = bulk('Si', 'diamond', a=5.43, cubic=True)
    if column == 'positions':
        frame.positions[3, 1] = np.nan
    else:
        frame.cell[0, 0] = np.inf
    with pytest.raises(RejectedCutoutError, match='not a finite number'):
        Workbench.prepare(frame, random_student({'Si'}), None)


@pytest.mark.parametrize('policy', ['metal', 'ionic'])
def test_a_periodic_policy_needs_a_periodic_frame(policy):
    frame = magnesia_with_vacancies()
    frame.pbc = [True, True, False]
    with pytest.raises(RejectedCutoutError, match=r'pbc is \[True, True, False\]'):
        cut(frame, policy=policy, core_radius=0.0, fallback=False)
    with pytest.raises(RejectedCutoutError, match='empty along c'):
        cut(graphene_layer(), policy=policy, core_radius=0.0, fallback=False) if policy == 'metal' else cut(
            layered_magnesia(), policy=policy, core_radius=0.0, fallback=False
        )


def layered_magnesia():
    frame = bulk('MgO', 'rocksalt', a=4.21, cubic=True) * (4, 4, 2)
    frame.cell[2, 2] += 12.0
    return frame


def test_a_surface_needs_exactly_one_open_direction():
    with pytest.raises(RejectedCutoutError, match='it is open in 0'):
        cut(iron(), policy='surface', core_radius=0.0, fallback=False)
    with pytest.raises(RejectedCutoutError, match='it is open in 3'):
        cut(molecule('C6H6'), policy='surface', core_radius=0.0, fallback=False)


def test_radii_of_four_and_three_give_a_cutout_or_a_reason():
    """4.0 and 3.0 Å are valid everywhere: what they make too large says how large, and gets a smaller core at last."""
    with pytest.raises(RejectedCutoutError, match='max_label_atoms is 130'):
        cut(magnesia_with_vacancies(), 20, fallback=False)
    box = cut(magnesia_with_vacancies(), 20)
    tried = [row['policy'] for row in box.report['tried']]
    assert box.policy == 'ionic' and tried[:2] == ['ionic', 'whole_frame'] and set(tried[2:]) <= {'ionic'}
    assert 'max_label_atoms is 130' in box.report['tried'][0]['reason']
    assert 'max_frame_atoms is 200' in box.report['tried'][1]['reason']
    assert box.report['core_radius_A'] < 4.0 and len(box.label.atoms) <= 130
    assert cut(magnesia_with_vacancies(), 20, max_label_atoms=300).policy == 'ionic'
    assert cut(silicon_with_vacancy(), 20).policy == 'covalent'
    assert cut(graphene_layer(), 20).policy == 'surface'
    assert cut(copper_slab(), 20).policy == 'surface'


def test_bonds_that_go_on_for_ever_are_no_molecule():
    with pytest.raises(RejectedCutoutError, match=r'goes on beyond 2000 atoms .* or is bonded to its own'):
        cut(silicon_with_vacancy(), policy='molecular', core_radius=0.0, fallback=False, max_label_atoms=2000)


def test_without_neutral_oxidation_states_there_is_no_box():
    frame = magnesia_with_vacancies()
    del frame[np.flatnonzero(frame.numbers == 8)[:60]]
    with pytest.raises(RejectedCutoutError, match='no oxidation states make the frame neutral'):
        cut(frame, policy='ionic', core_radius=0.0, fallback=False)
