"""Teachers by entry point: CHGNet with the weights of its package, and any ASE calculator."""

import json
import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT

from aiida_pyacemaker.science.frames import HAS_ENERGY, HAS_FORCES, HAS_STRESS, Frames
from aiida_pyacemaker.science.teacher import (
    Card,
    find_teacher,
    label_frames,
    load_teacher,
    plugin_names,
    read_card,
    teacher_calculator,
    teacher_descriptors,
)

EMT_CARD = {
    'teacher': 'ase',
    'settings': {
        'model': 'ase.calculators.emt:EMT',
        'elements': ['Cu', 'Al', 'Pt'],
        'cutoff_A': 5.0,
        'licence': 'LGPL',
    },
}


@pytest.fixture
def emt(tmp_path):
    path = tmp_path / 'emt.json'
    path.write_text(json.dumps(EMT_CARD))
    return path


@pytest.fixture(scope='module')
def chgnet(tmp_path_factory):
    pytest.importorskip('chgnet')
    return find_teacher('chgnet', cache_dir=tmp_path_factory.mktemp('cards'))


def metals() -> list[Atoms]:
    rng = np.random.default_rng(3)
    frames = [bulk('Cu', cubic=True), fcc111('Al', (2, 2, 2), vacuum=6.0), bulk('Pt', cubic=True)]
    for atoms in frames:
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
    return frames


def test_an_ase_calculator_is_a_teacher_like_any_other(emt):
    teacher = load_teacher(emt)
    assert (teacher.family, teacher.elements, teacher.cutoff, teacher.n_members) == ('ase', ('Al', 'Cu', 'Pt'), 5.0, 1)
    frames = Frames.from_atoms(metals())
    labelled = label_frames(teacher, frames)
    for row, atoms in enumerate(metals()):
        atoms.calc = EMT()
        assert labelled.energy[row] == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
        np.testing.assert_allclose(labelled.forces[labelled.span(row)], atoms.get_forces(), atol=1e-12)
    assert (labelled.label_mask & HAS_STRESS > 0).tolist() == [True, False, True]
    assert labelled.theories[0]['family'] == 'ase' and labelled.theories[0]['digest'] == teacher.digest
    asked = metals()[0]
    asked.calc = teacher_calculator(teacher)
    assert asked.get_potential_energy() == pytest.approx(labelled.energy[0], abs=1e-12)
    assert 'ase' in teacher.versions()


def test_what_a_calculator_refuses_is_a_row_without_label(emt):
    class Moody(EMT):
        def calculate(self, atoms=None, *arguments, **more):
            if len(atoms) == 3:
                raise ValueError('three is a crowd')
            super().calculate(atoms, *arguments, **more)

    teacher = load_teacher(emt)
    object.__setattr__(teacher.engines[0], 'calculator', Moody())
    crowd = Atoms('Cu3', positions=np.eye(3) * 2.5)
    with pytest.warns(UserWarning, match='refused Cu3: three is a crowd'):
        labelled = label_frames(teacher, Frames.from_atoms([metals()[0], crowd, metals()[2]]))
    assert (labelled.label_mask > 0).tolist() == [True, False, True]


def test_features_of_any_calculator_do_not_turn_with_the_crystal(emt):
    teacher, atoms = load_teacher(emt), metals()[0]
    turned = atoms.copy()
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    turned.positions += 0.7
    other = atoms.copy()
    other.numbers[0] = 13
    first, second, third = (teacher.describe([each]) for each in (atoms, turned, other))
    assert first.shape == (4, 24)
    np.testing.assert_allclose(first, second, atol=1e-9)
    assert np.abs(first - third).max() > 1e-2
    assert teacher_descriptors(teacher, Frames.from_atoms(metals())).shape == (3, 24)


def test_chgnet_says_what_its_own_calculator_says(chgnet):
    from chgnet.model.dynamics import CHGNetCalculator

    rng = np.random.default_rng(1)
    structures = [bulk('MgO', 'rocksalt', a=4.2), bulk('Fe') * (2, 1, 1), bulk('Si')]
    structures[1].set_cell(structures[1].cell[:] @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
    for atoms in structures:
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
    labelled = label_frames(chgnet.teacher, Frames.from_atoms(structures))
    calculator = CHGNetCalculator(use_device='cpu')
    for row, atoms in enumerate(structures):
        atoms.calc = calculator  # both are float32 and sum in different order
        assert labelled.energy[row] == pytest.approx(atoms.get_potential_energy(), abs=2e-5)
        np.testing.assert_allclose(labelled.forces[labelled.span(row)], atoms.get_forces(), atol=2e-4)
        np.testing.assert_allclose(labelled.stress[row], atoms.get_stress(), atol=1e-5)
    assert chgnet.licence == 'BSD-3-Clause' and 'chgnet' in chgnet.source and len(chgnet.teacher.elements) == 89


def test_chgnet_boxes_molecules_and_refuses_lone_atoms(chgnet):
    water, lone = molecule('H2O'), Atoms('He', cell=[20] * 3, pbc=True)
    turned = water.copy()
    turned.rotate(50, (1, 1, 0))
    turned.positions += 3.0
    labelled = label_frames(chgnet.teacher, Frames.from_atoms([water, lone, turned]))
    assert (labelled.label_mask & (HAS_ENERGY | HAS_FORCES) > 0).tolist() == [True, False, True]
    assert labelled.energy[0] == pytest.approx(labelled.energy[2], abs=1e-4)
    assert np.abs(labelled.forces[labelled.span(0)].sum(axis=0)).max() < 1e-4
    features = chgnet.teacher.describe([water, lone])
    assert features.shape == (4, 64) and np.isnan(features[3]).all() and np.isfinite(features[:3]).all()


def test_a_card_holds_the_digest_of_the_weights(chgnet, tmp_path):
    card = read_card(chgnet.paths[0])
    assert card.sha256 == chgnet.teacher.sha256[0]
    other = tmp_path / 'other.json'
    other.write_text(Card(teacher='chgnet', settings={'model': '0.2.0'}, sha256=card.sha256).text())
    with pytest.raises(ValueError, match=r'has sha256 .* here, expected .*chgnet'):
        load_teacher(other)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{', 'no teacher card'),
        ('{"teacher": "ase", "model": "x:y"}', 'expected the keys settings, sha256, teacher'),
        ('{"teacher": "oracle"}', "no teacher 'oracle'.*ase, chgnet"),
        ('{"teacher": "ase", "settings": {"model": "ase.calculators.emt:EMT"}}', 'elements'),
        ('{"teacher": "ase", "settings": {"model": "ase.nowhere:Emt", "elements": ["Cu"]}}', 'cannot be made'),
        ('{"teacher": "chgnet", "settings": {"model": "1.0"}}', "'0.3.0', '0.2.0' or 'r2scan'"),
    ],
)
def test_bad_cards_are_refused_by_name(content, message, tmp_path):
    path = tmp_path / 'card.json'
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        load_teacher(path)


def test_families_are_not_mixed_in_a_committee(emt, models):
    with pytest.raises(ValueError, match='one family, found ase, mace'):
        load_teacher([models[0], emt])
    assert {'ase', 'chgnet'} <= set(plugin_names())


def test_a_committee_of_calculators_has_a_spread(emt, tmp_path):
    second = tmp_path / 'second.json'
    settings = {**EMT_CARD['settings'], 'model': 'ase.calculators.morse:MorsePotential'}
    second.write_text(json.dumps({'teacher': 'ase', 'settings': settings}))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        labelled = label_frames(load_teacher([emt, second]), Frames.from_atoms(metals()))
    assert (labelled.uncertainty > 0).all()
