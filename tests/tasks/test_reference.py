"""Task `reference`: any ASE calculator as the truth."""

import json

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from aiida_pyacemaker.science.frames import HAS_ENERGY, HAS_FORCES, HAS_STRESS, Frames
from aiida_pyacemaker.tasks.main import run_task


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def label(*structures, **settings):
        Frames.from_atoms(structures).save('frames.npz')
        (tmp_path / 'task.json').write_text(json.dumps({'frames': 'frames.npz', **settings}))
        return run_task('reference', tmp_path / 'task.json')

    return label


def rattled_copper():
    atoms = bulk('Cu', cubic=True)
    atoms.rattle(0.1, seed=3)
    return atoms


def test_labels_are_those_of_the_calculator_in_order(run):
    copper, close = rattled_copper(), molecule('H2')
    close.positions *= 0.3
    result = run(copper, close, molecule('CO'), rattled_copper() * (2, 1, 1))
    assert (result['labelled'], result['n_failed'], result['failed'][0]['row']) == ([0, 2, 3], 1, 1)
    assert '0.22' in result['failed'][0]['reason'] and 'allowed: at least 0.5' in result['failed'][0]['reason']
    frames = Frames.load('labels.npz')
    everything = HAS_ENERGY | HAS_FORCES | HAS_STRESS
    assert frames.label_mask.tolist() == [everything, HAS_ENERGY | HAS_FORCES, everything]
    copper.calc = EMT()
    np.testing.assert_allclose(frames.forces[frames.span(0)], copper.get_forces(), atol=1e-12)
    np.testing.assert_allclose(frames.stress[0], copper.get_stress(), atol=1e-12)
    assert frames.energy[2] == pytest.approx(2 * copper.get_potential_energy(), abs=1e-9)
    assert frames.theories == ({'kind': 'dft', 'code': 'ase emt', 'parameters': {}},)
    assert np.allclose(Frames.load('quarantine.npz').positions, close.positions)


def test_a_class_by_its_path_with_parameters(run):
    run(molecule('N2'), calculator='ase.calculators.lj.LennardJones', parameters={'epsilon': 0.5, 'rc': 9.0})
    length = molecule('N2').get_distance(0, 1)
    energy = 2 * (length**-12 - length**-6) - 2 * (9.0**-12 - 9.0**-6)  # ASE's is 0 at the cut-off
    assert Frames.load('labels.npz').energy[0] == pytest.approx(energy, rel=1e-9)


@pytest.mark.parametrize(
    ('settings', 'name', 'words'),
    [
        ({'calculator': 'no.such.Thing'}, 'INVALID_INPUT', 'no.such.Thing'),
        ({'calculator': 'lj', 'parameters': {'sigma': 'wide'}}, 'INVALID_INPUT', 'TypeError'),
        ({'force_limit_eV_per_A': 1e-6}, 'NOTHING_LEFT', 'largest force'),
    ],
)
def test_what_fails_has_a_name(run, settings, name, words):
    result = run(rattled_copper(), **settings)
    assert result['failure'] == name and words in result['message']


def test_nothing_to_do_is_no_failure(run):
    result = run()
    assert result['status'] == 0 and result['labelled'] == [] and len(Frames.load('labels.npz')) == 0
