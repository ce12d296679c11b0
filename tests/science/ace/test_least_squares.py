"""The algebra of a fit against dense brute force, by hypothesis over sizes, ranks and weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_pyacemaker.science.ace.least_squares import (
    RIDGE_GRID,
    Posterior,
    Spectrum,
    StreamedFactor,
    cross_validated_ridge,
    triangle_of,
    without_zero,
)


@st.composite
def problems(draw):
    """A few parts of weighted rows [A|y], more or fewer rows than unknowns, columns of very different size."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_unknowns, n_parts = draw(st.integers(1, 8)), draw(st.integers(2, 5))
    scale = np.append(10.0 ** rng.uniform(-3, 3, size=n_unknowns), 1.0)
    parts = [rng.normal(size=(draw(st.integers(1, 12)), n_unknowns + 1)) * scale for _ in range(n_parts)]
    return parts, rng.uniform(0.5, 5.0, size=n_unknowns), 10.0 ** draw(st.integers(-8, 0))


def dense(parts, scales, ridge):
    """Return design, target and λ: what the factor is a short form of."""
    rows = np.concatenate(parts)
    strength = ridge * np.sum(np.linalg.svd(rows[:, :-1] / scales, compute_uv=False) ** 2) / len(scales)
    return rows[:, :-1], rows[:, -1], strength


def spectrum_of(parts, scales):
    return Spectrum.of(triangle_of(parts), scales, n_rows=sum(map(len, parts)))


@settings(max_examples=60, deadline=None)
@given(problems())
def test_solution_is_that_of_the_normal_equations(problem):
    parts, scales, ridge = problem
    design, target, strength = dense(parts, scales, ridge)
    found = spectrum_of(parts, scales).coefficients(ridge)
    augmented = np.concatenate([design, np.sqrt(strength) * np.diag(scales)])
    wanted = np.linalg.lstsq(augmented / scales, np.append(target, np.zeros(len(scales))), rcond=None)[0] / scales
    # predictions, not coefficients: the latter are as uncertain as the problem is ill conditioned
    np.testing.assert_allclose(design @ found, design @ wanted, rtol=0, atol=1e-9 * np.abs(target).max())


@settings(max_examples=60, deadline=None)
@given(problems())
def test_variance_and_leverage_are_those_of_the_dense_inverse(problem):
    parts, scales, ridge = problem
    design, target, strength = dense(parts, scales, ridge)
    spectrum = spectrum_of(parts, scales)
    posterior = Posterior.of(spectrum, ridge)
    scaled = design / scales
    inverse = np.linalg.inv(scaled.T @ scaled + strength * np.eye(len(scales))) / np.outer(scales, scales)
    coefficients = spectrum.coefficients(ridge)
    misfit = np.sum((design @ coefficients - target) ** 2) + strength * np.sum((scales * coefficients) ** 2)
    noise = misfit / len(target)
    rows = np.random.default_rng(0).normal(size=(4, len(scales))) * np.abs(design).max(axis=0)
    wanted = np.einsum('ij,jk,ik->i', rows, inverse, rows)
    tolerance = 1e-16 * max(np.linalg.cond(inverse * np.outer(scales, scales)), 1e5)
    np.testing.assert_allclose(posterior.variance(rows), noise * wanted, rtol=1e3 * tolerance)
    hat = np.diag(design @ inverse @ design.T)
    np.testing.assert_allclose(posterior.leverage(design), hat, rtol=0, atol=1e3 * tolerance)
    effective = np.sum(spectrum.values**2 / (spectrum.values**2 + ridge * spectrum.unit))
    assert posterior.leverage(triangle_of(parts)[:, :-1]).sum() == pytest.approx(effective, rel=1e-8)
    size = np.sqrt(np.diag(noise * inverse))  # of coefficients: correlations may cancel, so compare to it
    np.testing.assert_allclose(
        posterior.covariance / np.outer(size, size),
        noise * inverse / np.outer(size, size),
        rtol=0,
        atol=1e3 * tolerance,
    )


@settings(max_examples=40, deadline=None)
@given(problems())
def test_cross_validation_leaves_out_what_it_says(problem):
    parts, scales, _ = problem
    unit = spectrum_of(parts, scales).unit
    losses = []
    for ridge in RIDGE_GRID[RIDGE_GRID >= 1e-4 * (1 - 1e-9)]:
        loss = 0.0
        for index, held_out in enumerate(parts):
            rest = np.concatenate([part for other, part in enumerate(parts) if other != index])
            augmented = np.concatenate([rest[:, :-1] / scales, np.sqrt(ridge * unit) * np.eye(len(scales))])
            target = np.append(rest[:, -1], np.zeros(len(scales)))
            found = np.linalg.lstsq(augmented, target, rcond=None)[0] / scales
            loss += np.sum((held_out[:, :-1] @ found - held_out[:, -1]) ** 2)
        losses.append(loss)
    chosen = cross_validated_ridge(parts, scales, unit=unit, floor=1e-4)
    grid = RIDGE_GRID[RIDGE_GRID >= 1e-4 * (1 - 1e-9)]
    assert losses[int(np.argmin(np.abs(np.log(grid / chosen))))] <= min(losses) * (1 + 1e-6)


def test_cross_validation_needs_two_groups_and_keeps_its_floor():
    rng = np.random.default_rng(1)
    design = rng.normal(size=(40, 3))
    rows = np.column_stack([design, design @ [1.0, 2.0, 3.0]])  # free of noise: the less ridge the better
    with pytest.raises(ValueError, match='1 group of frames, expected at least 2'):
        cross_validated_ridge([rows], np.ones(3), unit=1.0, floor=1e-6)
    assert cross_validated_ridge([rows[:20], rows[20:]], np.ones(3), unit=1.0, floor=1e-6) == 1e-6
    assert spectrum_of([rows], np.ones(3)).evidence_ridge(1e-5) == 1e-5


@settings(max_examples=40, deadline=None)
@given(problems(), st.integers(1, 7))
def test_streaming_is_the_batch(problem, piece):
    parts, _, _ = problem
    rows = np.concatenate(parts)
    weights = np.random.default_rng(2).uniform(0.1, 2.0, size=len(rows))
    stream = StreamedFactor(rows.shape[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('aiida_pyacemaker.science.ace.least_squares.factors.BUFFERED_ROWS', 4)
        for start in range(0, len(rows), piece):
            stream.add(rows[start : start + piece], weights[start : start + piece])
    gram, wanted = stream.result().T @ stream.result(), rows.T @ (weights[:, None] * rows)
    np.testing.assert_allclose(gram, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())
    assert stream.n_rows == len(rows) and stream.weight_sum == pytest.approx(weights.sum())


def test_rows_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match='NaN or inf'):
        StreamedFactor(2).add(np.array([[1.0, np.inf]]), np.ones(1))


def test_without_zero_forgets_a_constant_an_element():
    """Targets moved by any multiple of the fractions are the same rows."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(9, 4 + 2 + 1))
    moved = rows.copy()
    moved[:, -1] += rows[:, 4:6] @ [3.0, -7.0]
    np.testing.assert_allclose(without_zero(moved, 4), without_zero(rows, 4), atol=1e-12)
    assert np.abs(without_zero(rows, 4)[:, 4:6]).max() == 0.0
