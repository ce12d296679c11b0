"""A linear fit of the copper frames that pacemaker fitted: at least as good on the frames it kept for its test."""

import sys
from pathlib import Path

import numpy as np

from aiida_pyacemaker.science.ace import evaluate
from aiida_pyacemaker.science.ace.blocks import Assembly, make_fit_block
from aiida_pyacemaker.science.ace.fit import Ridge, solve_blocks
from aiida_pyacemaker.science.ace.weights import RowWeights

sys.path.insert(0, str(Path(__file__).parents[3] / 'benchmarks'))
sys.path.insert(0, str(Path(__file__).parents[2] / 'fixtures' / 'cu_emt'))
from ace_fit_speed import copper_basis, errors_of, fit_copper
from copper_frames import load_copper


def test_copper_is_learnt_from_613_atoms():
    """Nonlinear pacemaker after 100 iterations: 91 meV/atom and 487 meV/Å on these frames; a linear fit 8 and 38."""
    (train, _), (test, _) = load_copper()
    assert (len(train), train.n_atoms, len(test)) == (107, 613, 12)
    fitted, _, _ = fit_copper(copper_basis(250), threads=1)
    energy, forces = errors_of(fitted.potential, test)
    assert energy < 8.0 and forces < 38.0
    assert fitted.metrics['n_functions'] == [250]


def test_labels_far_from_the_data_are_known_to_be_uncertain():
    """Half the training frames: the posterior's deviations cover the errors on the rest, in order of magnitude."""
    (train, _), _ = load_copper()
    train = train.with_columns(force_weight=np.ones(train.n_atoms))
    known, unknown = train.select(np.arange(0, 107, 2)), train.select(np.arange(1, 107, 2))
    potential = copper_basis(100)
    block = make_fit_block(known, potential, name='half', weights=RowWeights(), assembly=Assembly())
    fitted = solve_blocks([block], potential, factors={}, ridge=Ridge('evidence'), own_zero=None, complete=True)
    errors, deviations = [], []
    for index, atoms in enumerate(unknown.iter_atoms()):
        found = evaluate(fitted.potential, atoms).forces
        errors.append(np.linalg.norm(found - unknown.forces[unknown.span(index)], axis=1))
        deviations.append(np.sqrt(fitted.force_variance(atoms).sum(axis=1)))
    errors, deviations = np.concatenate(errors), np.concatenate(deviations)
    moved = errors > 1e-6  # atoms at rest by symmetry have no error and no variance
    assert np.corrcoef(np.log(errors[moved]), np.log(deviations[moved]))[0, 1] > 0.7
    assert 0.2 < float(np.median(errors[moved] / deviations[moved])) < 5.0
