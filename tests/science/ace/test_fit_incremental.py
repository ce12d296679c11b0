"""Blocks by hypothesis: adding them is the batch, forgetting one is a fit without it, whatever the split."""

from functools import cache

import numpy as np
import pytest
from fit_examples import BASELINE, CONFIG, ELEMENTS, labelled_frames, true_potential
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_pyacemaker.science.ace import build_potential, design_rows, evaluate
from aiida_pyacemaker.science.ace.blocks import Assembly, make_fit_block
from aiida_pyacemaker.science.ace.fit import Ridge, leave_one_block_out, prior_scales, solve_blocks
from aiida_pyacemaker.science.ace.weights import RowWeights
from aiida_pyacemaker.science.config import FitConfig
from aiida_pyacemaker.science.frames import concatenate_frames

EMPTY = build_potential(ELEMENTS, CONFIG).with_reference_energies(true_potential().reference_energies)
TEST = labelled_frames(2, 99)


@cache
def source(seed):
    """Frames with noisy labels, so that no fit is perfect."""
    frames = labelled_frames(4, seed)
    noise = np.random.default_rng(seed).normal(scale=0.05, size=frames.forces.shape)
    return frames.with_columns(forces=frames.forces + noise)


@cache
def block(seed, name=None):
    return make_fit_block(source(seed), EMPTY, name=name or f's{seed}', baseline=BASELINE, weights=RowWeights())


def solve(blocks, **options):
    return solve_blocks(blocks, EMPTY, **{'factors': {}, 'ridge': 1e-8, 'complete': True, **options})


def predictions(potential):
    rows = [evaluate(potential, atoms) for atoms in TEST.iter_atoms()]
    return np.concatenate([np.append(row.forces.ravel(), row.energies.sum()) for row in rows])


def assert_same(found, wanted):
    size = np.abs(predictions(wanted)).max()
    np.testing.assert_allclose(predictions(found), predictions(wanted), rtol=0, atol=1e-9 * size)


def all_rows(seeds, factors):
    """Every weighted row of the sources at once: no factor, no streaming, weights written out."""
    design, target = [], []
    for seed in seeds:
        frames, n_frames = source(seed), len(source(seed))
        weight = {
            'energy': 1 / 111 / n_frames / 1e-3**2,
            'forces': 100 / 111 / (3 * frames.n_atoms) / 0.1**2,
            'stress': 10 / 111 / (6 * n_frames) / 1e-2**2,
        }
        for index, atoms in enumerate(frames.iter_atoms()):
            rows, known, size = design_rows(EMPTY, atoms), BASELINE.evaluate(atoms), len(atoms)
            free = sum(EMPTY.reference_energies[symbol] for symbol in atoms.get_chemical_symbols()) + known[0].sum()
            volume = atoms.get_volume() / size
            parts = {
                'energy': (rows.energy[None] / size, [(frames.energy[index] - free) / size]),
                'forces': (rows.forces.reshape(3 * size, -1), (frames.forces[frames.span(index)] - known[1]).ravel()),
                'stress': (rows.stress * volume, (frames.stress[index] - known[2]) * volume),
            }
            for kind, (values, labels) in parts.items():
                root = np.sqrt(weight[kind] * factors.get(f's{seed}', 1.0))
                design.append(root * values)
                target.append(root * np.asarray(labels))
    return np.concatenate(design), np.concatenate(target)


def dense_fit(seeds, factors, ridge=1e-8):
    """Return coefficients, and the inverse of H and σ² they come with."""
    (design, target), scales = all_rows(seeds, factors), prior_scales(EMPTY)
    scaled = design / scales
    strength = ridge * np.mean(np.linalg.svd(scaled, compute_uv=False) ** 2)
    augmented = np.concatenate([scaled, np.sqrt(strength) * np.eye(len(scales))])
    solution = np.linalg.lstsq(augmented, np.append(target, np.zeros(len(scales))), rcond=None)[0]
    loss = np.sum((scaled @ solution - target) ** 2) + strength * solution @ solution
    root = np.linalg.inv(np.linalg.qr(augmented, mode='r')) / scales[:, None]
    return solution / scales, root @ root.T, loss / len(target)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4, unique=True), st.data())
def test_incremental_is_the_batch(seeds, data):
    """Any sources in any order with any factors: the stacked factors are one fit of all rows at once."""
    factors = {f's{seed}': data.draw(st.sampled_from([0.1, 1.0, 10.0])) for seed in seeds}
    coefficients, _, _ = dense_fit(sorted(seeds), factors)
    assert_same(
        solve([block(seed) for seed in seeds], factors=factors).potential, EMPTY.with_coefficients(coefficients)
    )


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=2, max_size=4, unique=True), st.integers(0, 3))
def test_forgetting_is_a_fit_without(seeds, which):
    gone = seeds[which % len(seeds)]
    forgotten = solve([block(seed) for seed in seeds], factors={f's{gone}': 0.0})
    without = solve([block(seed) for seed in seeds if seed != gone])
    assert forgotten.potential.coefficients.tolist() == without.potential.coefficients.tolist()
    assert f's{gone}' not in forgotten.metrics['sources']
    for element, inverse in without.active_set.inverses.items():
        assert (forgotten.active_set.inverses[element] == inverse).all()


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 3), st.integers(2, 5))
def test_threads_and_folds_change_no_row(n_threads, n_folds):
    assembly = Assembly(n_threads=n_threads, n_folds=n_folds)
    found = make_fit_block(source(1), EMPTY, name='s1', baseline=BASELINE, weights=RowWeights(), assembly=assembly)
    assert_same(solve([found]).potential, solve([block(1)]).potential)
    same = make_fit_block(
        source(1), EMPTY, name='s1', baseline=BASELINE, weights=RowWeights(), assembly=Assembly(n_threads=n_threads)
    )
    assert all((same.factors[kind] == factor).all() for kind, factor in block(1).factors.items())


def test_variances_are_those_of_the_dense_inverse():
    result = solve([block(1), block(2)])
    _, inverse, noise = dense_fit([1, 2], {})
    atoms = TEST.atoms(0)
    rows = design_rows(EMPTY, atoms)
    assert result.energy_variance(atoms) == pytest.approx(noise * rows.energy @ inverse @ rows.energy, rel=1e-6)
    wanted = noise * np.einsum('icp,pq,icq->ic', rows.forces, inverse, rows.forces)
    np.testing.assert_allclose(result.force_variance(atoms), wanted, rtol=1e-6)


def test_variance_is_the_spread_of_fits_to_noisy_labels():
    """300 refits to labels with fresh noise of the posterior's own σ: their spread is the stated one, to sampling."""
    (design, _), (_, inverse, _) = all_rows([1, 2], {}), dense_fit([1, 2], {}, ridge=1e-12)
    atoms, sigma = TEST.atoms(0), 0.3
    row = design_rows(EMPTY, atoms).energy
    noise = sigma * np.random.default_rng(1).normal(size=(300, len(design)))
    spread = np.var(noise @ design @ inverse @ row)
    assert spread == pytest.approx(sigma**2 * row @ inverse @ row, rel=0.25)


def test_variance_counts_the_reference_energies_where_they_are_fitted():
    both = solve([block(1), block(2)], own_zero=None)
    assert len(both.posterior.root) == len(EMPTY.coefficients) + 2
    atoms = TEST.atoms(0)
    row = np.append(design_rows(EMPTY, atoms).energy, [atoms.symbols.count(symbol) for symbol in ELEMENTS])
    covariance = both.posterior.covariance
    assert both.energy_variance(atoms) == pytest.approx(row @ covariance @ row, rel=1e-6)
    forces = design_rows(EMPTY, atoms).forces
    part = covariance[:-2, :-2]
    np.testing.assert_allclose(both.force_variance(atoms), np.einsum('icp,pq,icq->ic', forces, part, forces), rtol=1e-5)


def test_leverages_add_up_to_the_effective_number_of_coefficients():
    result = solve([block(1), block(2)], factors={'s2': 0.01})
    leverages = [source['leverage'] for source in result.metrics['sources'].values()]
    design, _ = all_rows([1, 2], {'s2': 0.01})
    _, inverse, _ = dense_fit([1, 2], {'s2': 0.01})
    hat = np.einsum('ij,jk,ik->i', design, inverse, design)
    assert sum(leverages) == pytest.approx(result.metrics['n_effective'], rel=1e-9)
    assert leverages == pytest.approx([hat[: len(hat) // 2].sum(), hat[len(hat) // 2 :].sum()], rel=1e-6)
    assert leverages[0] > leverages[1]


def test_leaving_one_block_out_is_a_fit_without_it():
    blocks = [block(seed) for seed in (1, 2, 3)]
    whole = np.mean(np.linalg.svd(all_rows([1, 2, 3], {})[0] / prior_scales(EMPTY), compute_uv=False) ** 2)
    part = np.mean(np.linalg.svd(all_rows([1, 3], {})[0] / prior_scales(EMPTY), compute_uv=False) ** 2)
    without, _, _ = dense_fit([1, 3], {}, ridge=1e-8 * whole / part)
    found = leave_one_block_out(blocks, EMPTY, factors={}, ridge=1e-8)
    errors = []
    for index, atoms in enumerate(source(2).iter_atoms()):
        forces = evaluate(EMPTY.with_coefficients(without), atoms).forces + BASELINE.evaluate(atoms)[1]
        errors.append(forces - source(2).forces[source(2).span(index)])
    assert found['s2']['forces'] == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-6)
    assert found['s2']['forces'] > solve(blocks).metrics['sources']['s2']['rmse_forces_eV_per_A']
    with pytest.raises(ValueError, match='at least 2 blocks'):
        leave_one_block_out(blocks[:1], EMPTY, factors={}, ridge=1e-8)


def test_cross_validation_keeps_groups_together():
    """Five copies of each of four frames: with groups, all copies of a frame are left out at once."""
    copies = concatenate_frames([source(1)] * 5)
    folds, ridges = {}, {}
    for name, group in (('grouped', np.tile(np.arange(4), 5)), ('alone', np.full(20, -1))):
        frames, assembly = copies.with_columns(group=group), Assembly(n_folds=2 if name == 'grouped' else 5)
        made = make_fit_block(frames, EMPTY, name=name, baseline=BASELINE, weights=RowWeights(), assembly=assembly)
        folds[name] = [np.linalg.matrix_rank(fold['energy'], tol=1e-8) for fold in made.folds]
        ridges[name] = solve([made], ridge=Ridge('cross-validation', 1e-14)).ridge
    assert folds == {'grouped': [2, 2], 'alone': [4] * 5}
    assert ridges['grouped'] > ridges['alone']  # who has seen the frame he is tested on believes in no prior


def relabelled(frames):
    return frames.with_columns(numbers=np.where(frames.numbers == 13, 28, 13).astype(np.uint8))


def test_names_of_elements_do_not_matter_to_the_prior():
    """Al and Ni exchanged in all frames, in a basis that is closed under it: the same predictions, exchanged."""
    functions = {
        'number_of_functions_per_element': None,
        'ALL': {'nradmax_by_orders': (3, 2, 1), 'lmax_by_orders': (0, 2, 1)},
    }
    bonds = {'ALL': {'rcut': 4.5, 'r_in': 1.0, 'delta_in': 0.2}}
    empty = build_potential(ELEMENTS, FitConfig(basis={'functions': functions, 'bonds': bonds}))
    fits = []
    for frames in (source(1), relabelled(source(1))):
        made = make_fit_block(frames, empty, name='pool', weights=RowWeights())
        fits.append(solve_blocks([made], empty, factors={}, ridge=1e-4, own_zero=None, complete=True).potential)
    atoms = TEST.atoms(0)
    exchanged = relabelled(TEST).atoms(0)
    one, two = evaluate(fits[0], atoms), evaluate(fits[1], exchanged)
    np.testing.assert_allclose(two.forces, one.forces, rtol=0, atol=1e-9 * np.abs(one.forces).max())
    assert two.energies.sum() == pytest.approx(one.energies.sum(), rel=1e-9)
    assert fits[0].reference_energies['Al'] == pytest.approx(fits[1].reference_energies['Ni'], rel=1e-9)
