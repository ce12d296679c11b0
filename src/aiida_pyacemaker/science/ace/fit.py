"""The linear fit: coefficients and active set from blocks, prior and ridge."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frames import Frames
from .active_set import ActiveSet, build_active_set, grade_rows
from .blocks import Baseline, FitBlock, reference_column, without_zero
from .potential import AcePotential
from .weights import labelled_kinds

Array = NDArray[np.float64]

RIDGE_GRID = 10.0 ** np.arange(-14.0, 0.01, 0.5)


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """The fitted potential, its active set, metrics of plain JSON values and the ridge used (dimensionless)."""

    potential: AcePotential
    active_set: ActiveSet
    metrics: Mapping[str, Any]
    ridge: float


def fit_reference_energies(
    sources: Sequence[Frames], elements: Sequence[str], baseline: Baseline | None = None
) -> dict[str, float]:
    """Return E0, eV per element: the least-squares fit of E/n = Σ_e (n_e/n) E0_e to all frames with an energy row.

    E is the label less the baseline. One element: the mean energy per atom. Compositions that do not determine
    every element get the solution of least norm; without energies all are 0.
    """
    fractions, energies = [], []
    for frames in sources:
        for index in range(len(frames)):
            if 'energy' not in labelled_kinds(frames, index):
                continue
            atoms = frames.atoms(index)
            symbols = np.array(atoms.get_chemical_symbols())
            known = float(baseline.evaluate(atoms)[0].sum()) if baseline is not None else 0.0
            fractions.append([np.mean(symbols == element) for element in elements])
            energies.append((float(frames.energy[index]) - known) / len(atoms))
    if not energies:
        return dict.fromkeys(elements, 0.0)
    solution = np.linalg.lstsq(np.array(fractions), np.array(energies), rcond=1e-10)[0]
    return dict(zip(elements, solution.tolist(), strict=True))


def prior_scales(potential: AcePotential) -> Array:
    """Return (P,) the root of the prior's weight of each coefficient, 1 + Σ n² + Σ l² over its factors.

    Rough functions (many nodes in r, high l) must pay more (van der Oord et al., Mach. Learn.: Sci. Technol. 1,
    015004, 2020).
    """
    table = potential.function_table()
    roughness = (table['ns'].astype(float) ** 2).sum(axis=1) + (table['ls'].astype(float) ** 2).sum(axis=1)
    return np.asarray(1.0 + roughness)


def solve_blocks(
    blocks: Sequence[FitBlock],
    potential: AcePotential,
    *,
    factors: Mapping[str, float],
    ridge: float | None = None,
    ridge_floor: float = 1e-10,
    own_zero: Collection[str] | None = (),
) -> FitResult:
    """Return the least-squares potential of the stacked blocks.

    Minimises Σ_blocks f |R c - z|² + λ Σ_k (1 + Σn² + Σl²)² c_k² with λ = ridge · mean(s²), s the singular values of
    the stacked rows with columns over the prior's scales. ``factors``: name -> f, 1 where not named, 0 forgets a
    source together with its environments; ``ridge`` None: chosen by evidence, never below ``ridge_floor``;
    ``own_zero`` None: E0 are unknowns too, drawn to those of ``potential`` by the same ridge (the first fit); else E0
    stay, and the energies of the named sources count up to a constant an element, as another theory's or another
    teacher's do. ``ValueError`` for a block of another basis or baseline, two blocks of one name, or nothing left.
    """
    fit_reference = own_zero is None
    kept = _kept_blocks(blocks, factors)
    for block in kept:
        block.check_frozen({'basis': potential.digest, 'baseline': kept[0].frozen['baseline']})
    n_potential = len(potential.coefficients)
    rows = [np.sqrt(factors.get(block.name, 1.0)) * block.weighted_factor() for block in kept]
    free = [block.name in (own_zero or ()) for block in kept]
    stacked = np.concatenate(
        [without_zero(part, n_potential) if own else part for part, own in zip(rows, free, strict=True)]
    )
    n_rows = sum(sum(block.n_rows.values()) for block in kept)
    count, reference = n_potential, reference_column(potential)
    target = stacked[:, -1] - stacked[:, count:-1] @ reference
    scales = prior_scales(potential)
    if fit_reference:
        count, scales = count + len(reference), np.append(scales, np.ones(len(reference)))
    triangle = np.asarray(np.linalg.qr(np.column_stack([stacked[:, :count], target]), mode='r'))
    unknowns, chosen = solve_ridge(triangle, scales, n_rows=n_rows, ridge=ridge, ridge_floor=ridge_floor)
    fitted = potential.with_coefficients(unknowns[:n_potential])
    if fit_reference:
        shifted = reference + unknowns[n_potential:]
        fitted = fitted.with_reference_energies(dict(zip(potential.elements, shifted.tolist(), strict=True)))
    active_set = build_active_set(
        {element: np.concatenate([block.candidates[element] for block in kept]) for element in potential.elements},
        complete=True,
    )
    metrics = {
        'sources': {block.name: _source_metrics(block, fitted, active_set, factors, own_zero or ()) for block in kept},
        'ridge': chosen,
        'n_rows': n_rows,
        'n_functions': list(potential.n_functions),
    }
    return FitResult(potential=fitted, active_set=active_set, metrics=metrics, ridge=chosen)


def _kept_blocks(blocks: Sequence[FitBlock], factors: Mapping[str, float]) -> list[FitBlock]:
    names = [block.name for block in blocks]
    if len(set(names)) < len(names):
        raise ValueError(f'blocks have names {names}, expected each once: a source counts once')
    negative = {name: factor for name, factor in factors.items() if not (np.isfinite(factor) and factor >= 0)}
    if negative:
        raise ValueError(f'factors {negative} must be finite and ≥ 0')
    kept = [block for block in blocks if factors.get(block.name, 1.0) > 0 and block.factors]
    if not kept:
        raise ValueError(f'no block with labels and a factor > 0 among {names}: nothing to fit')
    return kept


def solve_ridge(
    triangle: Array, scales: Array, *, n_rows: int, ridge: float | None, ridge_floor: float
) -> tuple[Array, float]:
    """Return coefficients (P,) and the ridge for the R factor (k, P + 1) of weighted rows [A|y].

    Without a ridge the evidence of Gaussian noise and prior picks it from half decades (MacKay, Neural Comput. 4,
    415, 1992): ln p = -(n/2) ln(|y - A c|² + λ |D c|²) + ½ Σ ln(λ / (s² + λ)).
    """
    left, values, right = np.linalg.svd(triangle[:, :-1] / scales, full_matrices=False)
    target = triangle[:, -1]
    overlap = left.T @ target
    squares, unit = values**2, float(np.mean(values**2))
    outside = max(float(target @ target - overlap @ overlap), 0.0)
    if ridge is None:
        grid = np.maximum(RIDGE_GRID, ridge_floor) * unit
        remainder = outside + (overlap**2 * grid[:, None] / (squares + grid[:, None])).sum(axis=1)
        occam = 0.5 * np.log(grid[:, None] / (squares + grid[:, None])).sum(axis=1)
        evidence = occam - 0.5 * n_rows * np.log(np.maximum(remainder, 1e-300))
        ridge = float(np.maximum(RIDGE_GRID, ridge_floor)[np.argmax(evidence)])
    ridge = max(ridge, ridge_floor)
    coefficients = right.T @ (values * overlap / (squares + ridge * unit)) / scales
    if not np.isfinite(coefficients).all():
        raise ValueError('the solution holds NaN or inf: check the labels')
    return coefficients, ridge


def _source_metrics(
    block: FitBlock,
    potential: AcePotential,
    active_set: ActiveSet,
    factors: Mapping[str, float],
    own_zero: Collection[str],
) -> dict[str, Any]:
    errors = block.errors(potential, own_zero=block.name in own_zero)
    grades = {
        element: float(grade_rows(rows, active_set.inverses[element]).max())
        for element, rows in block.candidates.items()
        if len(rows)
    }
    return {
        'rmse_energy_eV_per_atom': errors.get('energy'),
        'rmse_forces_eV_per_A': errors.get('forces'),
        'rmse_virial_eV_per_atom': errors.get('stress'),
        'n_rows': dict(block.n_rows),
        'n_frames': block.n_frames,
        'n_atoms_too_close': block.n_too_close,
        'theory': block.theory,
        'factor': factors.get(block.name, 1.0),
        'largest_gamma_of_candidates': grades,
    }
