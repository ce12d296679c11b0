"""Design rows: forces of core atoms alone need only what is within reach; images; only linear potentials have rows."""

from dataclasses import replace

import numpy as np
import pytest
from ace_examples import alloy, binary_potential
from ase import Atoms
from ase.build import bulk
from fit_examples import true_potential

from aiida_pyacemaker.science.ace import Embedding, design_rows, evaluate
from aiida_pyacemaker.science.cutout.training_geometry import build_training_geometry
from aiida_pyacemaker.science.images import index_frame


def test_core_rows_are_those_of_the_whole():
    potential, atoms = binary_potential(), alloy()
    core = np.zeros(len(atoms), dtype=bool)
    core[[1, 5]] = True
    whole, part = design_rows(potential, atoms), design_rows(potential, atoms, core=core)
    np.testing.assert_allclose(part.forces, whole.forces[core], rtol=0, atol=1e-13 * np.abs(whole.forces).max())
    assert [row.tolist() for row in part.projections] == [whole.projections[1].tolist(), whole.projections[5].tolist()]
    assert np.isnan(part.energy).all() and np.isnan(part.stress).all()  # not all centres were visited


def test_core_rows_of_a_training_geometry_are_those_of_the_frame():
    """Everything within twice the cut-off of the core says all about its forces; once the cut-off does not."""
    potential = true_potential()
    frame = bulk('Al', 'fcc', a=3.9, cubic=True) * (6, 6, 6)
    frame.positions += np.random.default_rng(4).normal(scale=0.1, size=(len(frame), 3))
    core = np.array([0, 1])
    mask = np.zeros(len(frame), dtype=bool)
    mask[core] = True
    wanted = design_rows(potential, frame, core=mask).forces
    errors = []
    for reach in (1.0, 0.5):
        cut = build_training_geometry(index_frame(frame), 0, core, cutoff_A=reach * potential.cutoff)
        assert not cut.is_whole_frame
        found = design_rows(potential, cut.atoms, core=cut.shell == 0)
        order = np.argsort(cut.parents[cut.shell == 0])
        errors.append(np.abs(found.forces[order] - wanted).max() / np.abs(wanted).max())
    assert errors[0] < 1e-12 < 1e-3 < errors[1]


def test_images_of_one_atom_push_as_one():
    """A primitive cell, every neighbour an image of the atom itself: no force, and a stress."""
    potential = true_potential()
    atoms = bulk('Ni', 'fcc', a=3.7)
    rows, found = design_rows(potential, atoms), evaluate(potential, atoms)
    assert np.abs(rows.forces).max() == 0.0
    stress = rows.stress @ potential.linear_coefficients
    np.testing.assert_allclose(stress, found.stress, rtol=0, atol=1e-12 * np.abs(found.stress).max())
    assert np.abs(found.stress[:3]).min() > 1e-4


def test_positions_that_are_not_finite_never_give_finite_rows():
    atoms = Atoms('Al2', [[0, 0, 0], [np.nan, 0, 2.5]], cell=[9, 9, 9], pbc=True)
    with pytest.raises(ValueError, match='position'):
        design_rows(true_potential(), atoms)


def test_nonlinear_potentials_have_no_rows():
    curved = replace(true_potential(), embeddings=(Embedding(parameters=(1.0, 0.5)),) * 2)
    with pytest.raises(ValueError, match=r'embeddings .*trainer\.pacemaker'):
        design_rows(curved, bulk('Al'))
