"""Sources of DFT labels count by how well their labels are known, which ``force_weight`` says."""

import numpy as np
import pytest
from fit_examples import BASELINE, CONFIG, ELEMENTS, labelled_frames

from aiida_pyacemaker.science.ace import build_potential
from aiida_pyacemaker.science.ace.blocks import FitBlock, make_fit_block
from aiida_pyacemaker.science.ace.weights import RowWeights, mean_force_weight
from aiida_pyacemaker.science.pacemaker import Reference, make_job

WEIGHT = 0.4


@pytest.fixture(scope='module')
def cutout():
    """One frame of which one atom counts, as much as its noise allows."""
    frames = labelled_frames(1, 5, theory='dft')
    return frames.with_columns(force_weight=np.where(np.arange(frames.n_atoms) == 2, WEIGHT, 0.0))


def test_mean_is_over_the_labelled_atoms_that_count(cutout):
    assert mean_force_weight(cutout) == pytest.approx(WEIGHT)
    whole = cutout.with_columns(force_weight=np.array([2.0, 0.5, *[0.0] * (cutout.n_atoms - 2)]))
    assert mean_force_weight(whole) == pytest.approx(1.25)
    assert mean_force_weight(cutout.with_columns(label_mask=np.array([0], dtype='u1'))) == 1.0


def test_a_block_keeps_it(cutout, tmp_path):
    block = make_fit_block(
        cutout, build_potential(ELEMENTS, CONFIG), name='dft', baseline=BASELINE, weights=RowWeights()
    )
    block.save(tmp_path / 'block.npz')
    assert FitBlock.load(tmp_path / 'block.npz').mean_force_weight == pytest.approx(WEIGHT)


def test_the_other_trainer_weighs_alike(cutout):
    reference = Reference(baseline=BASELINE, energies={'Al': -3.0, 'Ni': -5.0}, bond_length=2.6)
    settings = {'elements': ELEMENTS, 'fit': {'cutoff': 4.5, 'weight_dft': 10.0}}
    job = make_job(settings, {'cut': cutout, 'whole': labelled_frames(1, 5, theory='dft')}, reference, None)
    assert job.sources['cut'].factor == pytest.approx(10.0 * WEIGHT)
    assert job.sources['whole'].factor == 10.0
