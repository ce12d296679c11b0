"""The fast engine against pyace's values and against the oracle; threads, frames, lists, calculators."""

import numpy as np
import pytest
from ace_examples import FIXTURES, alloy, binary_potential, reference
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.science.ace import (
    AceCalculator,
    AcePotential,
    ActiveSet,
    BasisFunction,
    Bond,
    Embedding,
    build_potential,
    evaluate,
    evaluate_frames,
    evaluate_neighbours,
)
from aiida_pyacemaker.science.ace.evaluator import neighbours_of
from aiida_pyacemaker.science.ace.reference_engine import evaluate_reference
from aiida_pyacemaker.science.config import FitConfig
from aiida_pyacemaker.science.frames import Frames

NAMES = sorted(path.stem for path in FIXTURES.glob('*.asi'))


@pytest.mark.parametrize('name', NAMES)
def test_pyace_values(name):
    """Tolerances of the task: pyace tabulates radial functions as we do; γ looser where the set is ill-conditioned."""
    potential, _, frames = reference(name)
    active_set = ActiveSet.read(FIXTURES / f'{name}.asi').of(potential)
    condition = max(np.linalg.cond(matrix) for matrix in active_set.inverses.values())
    for atoms, values in frames:
        found = evaluate(potential, atoms, active_set=active_set)
        energies, forces = np.array(values['energies']), np.array(values['forces'])
        np.testing.assert_allclose(found.energies, energies, rtol=0, atol=1e-8 * max(1, np.abs(energies).max()))
        np.testing.assert_allclose(found.forces, forces, rtol=0, atol=1e-7 * max(1, np.abs(forces).max()))
        if atoms.pbc.all():
            stress = np.array(values['stress_voigt_ase'])
            np.testing.assert_allclose(found.stress, stress, rtol=0, atol=1e-7 * max(1, np.abs(stress).max()))
        for index, row in values['B_projections'].items():
            atol = 1e-7 * np.abs(row).max()
            np.testing.assert_allclose(found.projections[int(index)], row, rtol=0, atol=atol)
        gamma = np.array(values['gamma'])
        np.testing.assert_allclose(found.gamma, gamma, rtol=1e-5 if condition > 1e11 else 1e-6, atol=1e-12)


def random_potential(seed):
    """Return a potential whose pairs and elements all differ: cut-offs, bases, embeddings, inner cut-offs, cores."""
    rng = np.random.default_rng(seed)
    functions = {'ALL': {'nradmax_by_orders': (5, 3, 2, 1, 1), 'lmax_by_orders': (0, 2, 2, 1, 1)}}
    config = FitConfig(basis={'functions': functions}, cutoff=4.2, number_of_functions_per_element=130)
    built = build_potential(['Al', 'Cu', 'Ni'], config)
    kind = ('distance', 'density', 'zbl')[seed % 3]
    bonds = {}
    for (a, b), bond in built.bonds.items():
        pair = np.random.default_rng([seed, min(a, b), max(a, b)])
        bonds[a, b] = Bond(
            base=str(pair.choice(['SBessel', 'ChebPow', 'ChebExpCos', 'ChebLinear'])),
            parameters=(float(pair.uniform(2, 5)),),
            cutoff=float(pair.uniform(3.3, 4.2)),
            cutoff_width=0.4,
            coefficients=pair.normal(size=bond.coefficients.shape),
            inner_cutoff=2.0,
            inner_width=0.5,
            core_repulsion=(float(pair.uniform(0.5, 2)), 0.4),
            inner_cutoff_type=kind,
        )
    kinds = rng.permutation(['FinnisSinclair', 'FinnisSinclairShiftedScaled', 'FinnisSinclair'])
    weights = (1.0, 1.0, 0.7, 0.5, 0.3, 0.8)
    embeddings = tuple(
        Embedding(kind=str(name), parameters=weights[: 2 + 2 * i], rho_core_cut=6.0, drho_core_cut=5.0)
        for i, name in enumerate(kinds)
    )
    table = built.function_table()
    coefficients = rng.normal(size=(len(table), 3)) * 0.3 / 4.0 ** table['rank'][:, None]
    for element, embedding in enumerate(embeddings):
        coefficients[table['element'] == element, embedding.n_densities :] = 0.0
    return AcePotential(
        elements=built.elements,
        bonds=bonds,
        functions=built.functions,
        coefficients=coefficients,
        reference_energies={'Al': -1.0, 'Ni': 2.0},
        embeddings=embeddings,
    )


def ternary(seed=5):
    """Return a distorted cell of three elements with pairs inside the inner cut-offs."""
    rng = np.random.default_rng(seed)
    atoms = bulk('Cu', a=3.5, cubic=True) * (2, 2, 1)
    atoms.set_cell(atoms.cell @ (np.eye(3) + 0.04 * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(scale=0.22, size=(len(atoms), 3))
    atoms.symbols = rng.choice(['Al', 'Cu', 'Ni'], size=len(atoms))
    return atoms


@pytest.mark.parametrize('seed', [0, 1, 2])
def test_equals_the_oracle(seed):
    """Three elements, three densities, each inner cut-off: round-off apart, the same numbers as the NumPy engine."""
    potential, atoms = random_potential(seed), ternary(seed)
    found, expected = evaluate(potential, atoms, with_projections=True), evaluate_reference(potential, atoms)
    scale = np.abs(expected.forces).max()
    np.testing.assert_allclose(found.energies, expected.energies, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=1e-10 * scale)
    stress = expected.stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    np.testing.assert_allclose(found.stress, stress, rtol=0, atol=1e-10 * np.abs(stress).max())
    for mine, other in zip(found.projections, expected.projections, strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-11 * np.abs(other).max())


def test_functions_without_partners_and_single_atoms():
    """An element without products, and one without functions at all, are served."""
    bond = Bond(base='SBessel', parameters=(5.0,), cutoff=4.0, cutoff_width=0.01, coefficients=np.ones((1, 1, 2)))
    potential = AcePotential(
        elements=('Al', 'Ni'),
        bonds={(a, b): bond for a in (0, 1) for b in (0, 1)},
        functions=((), (BasisFunction((0,), (2,), (0,), ()),)),
        coefficients=np.array([0.7]),
        reference_energies={'Al': -1.0},
    )
    atoms = Atoms('AlNi2', [[0, 0, 0], [2.1, 0, 0], [0, 9.0, 0]])
    found, expected = evaluate(potential, atoms, with_projections=True), evaluate_reference(potential, atoms)
    np.testing.assert_allclose(found.energies, expected.energies, atol=1e-14)
    np.testing.assert_allclose(found.forces, expected.forces, atol=1e-13)
    assert [len(row) for row in found.projections] == [0, 1, 1]
    assert len(evaluate(potential, Atoms()).energies) == 0


def test_threads_change_no_bit(monkeypatch):
    """Chunks belong to the structure, not to the thread."""
    potential, atoms = binary_potential(), alloy() * (3, 2, 2)
    found = []
    for threads in ('1', '2', '3'):
        monkeypatch.setenv('OMP_NUM_THREADS', threads)
        result = evaluate(potential, atoms, with_projections=True)
        parts = (result.energies, result.forces, result.stress, *result.projections)
        found.append(b''.join(np.ascontiguousarray(part).tobytes() for part in parts))
    assert found[0] == found[1] == found[2]


def test_frames_equal_structures_one_by_one():
    potential = binary_potential()
    active_set = ActiveSet(
        inverses={e: np.eye(n) for e, n in zip(potential.elements, potential.n_functions, strict=True)}
    )
    broken = alloy()
    broken.positions[0, 0] = np.inf
    cluster = Atoms('AlNi3', [[0, 0, 0], [2.3, 0.2, 0], [0.1, 2.5, 0.3], [1.4, 1.2, 2.0]])
    structures = [alloy(), cluster, broken, Atoms('Ni'), alloy() * (2, 1, 1)]
    frames = Frames.from_atoms(structures)
    found = evaluate_frames(potential, frames, active_set=active_set, with_projections=True)
    for index, atoms in enumerate(structures):
        rows = frames.span(index)
        one = evaluate(potential, atoms, active_set=active_set, with_projections=True)
        np.testing.assert_allclose(found.energies[rows], one.energies, rtol=1e-13)
        np.testing.assert_allclose(found.forces[rows], one.forces, rtol=0, atol=1e-11)
        np.testing.assert_allclose(found.stress[index], one.stress, rtol=1e-11, atol=1e-14)
        np.testing.assert_allclose(found.gamma[rows], one.gamma, rtol=1e-13)
        for row, other in zip(found.projections[rows], one.projections, strict=True):
            np.testing.assert_allclose(row[: len(other)], other, rtol=1e-12, atol=1e-13)
    assert np.isinf(found.gamma[frames.span(2)]).all() and np.isnan(found.energies[frames.span(2)]).all()
    with pytest.raises(ValueError, match='Cu is unknown to the potential'):
        evaluate_frames(potential, Frames.from_atoms([bulk('Cu')]))


def test_many_small_frames_cross_blocks(monkeypatch):
    monkeypatch.setattr('aiida_pyacemaker.science.ace.batch.BLOCK', 20)
    potential = binary_potential()
    structures = [alloy() for _ in range(5)]
    found = evaluate_frames(potential, Frames.from_atoms(structures))
    one = evaluate(potential, structures[0])
    np.testing.assert_allclose(found.energies.reshape(5, -1), np.tile(one.energies, (5, 1)), rtol=1e-13)
    assert found.gamma is None and found.projections is None


def test_calculator_reads_the_active_set_and_keeps_its_list(tmp_path):
    potential, _, frames = reference('Cu_SBessel_lin')
    atoms = frames[0][0]
    atoms.calc = AceCalculator(potential, active_set=FIXTURES / 'Cu_SBessel_lin.asi')
    atoms.get_potential_energy()
    np.testing.assert_allclose(atoms.calc.results['gamma'], frames[0][1]['gamma'], rtol=1e-6)
    rng = np.random.default_rng(0)
    for _ in range(6):
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
        np.testing.assert_allclose(atoms.get_forces(), evaluate(potential, atoms).forces, rtol=0, atol=1e-11)
    assert atoms.calc._list.n_builds <= 3
    ActiveSet(inverses={'Cu': np.eye(3)}).write(tmp_path / 'other.asi')
    with pytest.raises(ValueError, match='another potential'):
        AceCalculator(potential, active_set=str(tmp_path / 'other.asi'))


def test_one_bad_distance_spoils_only_whom_it_touches():
    """NaN reaches the centre and its neighbours; atoms far away keep their values and bits."""
    potential, atoms = binary_potential(), alloy() * (4, 1, 1)
    species = potential.species_index(atoms.get_chemical_symbols())
    first, neighbour, vectors = neighbours_of(atoms, potential.cutoff)
    good = evaluate_neighbours(potential, species, first, neighbour, vectors, with_projections=True)
    for bad_value in (np.nan, np.array([np.nan, 0.0, 0.0])):
        spoilt = vectors.copy()
        spoilt[first[0]] = bad_value
        found = evaluate_neighbours(potential, species, first, neighbour, spoilt, with_projections=True)
        assert np.isnan(found.energies[0]) and np.isnan(found.projections[0]).any()
        np.testing.assert_array_equal(found.energies[1:], good.energies[1:])
        touched = np.unique(np.r_[0, neighbour[: first[1]]])
        assert np.isnan(found.forces[0]).all() and len(touched) < len(atoms)
        far = np.setdiff1d(np.arange(len(atoms)), touched)
        np.testing.assert_array_equal(found.forces[far], good.forces[far])


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'neighbour': 99}, 'expected rows of 2 atoms'),
        ({'neighbour': -1}, 'expected rows of 2 atoms'),
        ({'species': 2}, 'outside 0 to 1'),
    ],
)
def test_what_kernels_would_read_out_of_bounds_is_refused(change, words):
    species, neighbour = np.array([0, change.get('species', 1)]), np.array([1, change.get('neighbour', 0)])
    with pytest.raises(ValueError, match=words):
        evaluate_neighbours(binary_potential(), species, np.array([0, 1, 2]), neighbour, np.full((2, 3), 1.5))
