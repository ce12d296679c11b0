"""The linear fit: coefficients and active set from blocks, prior and ridge."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ..config import FitConfig
from ..frames import Frames
from .active_set import ActiveSet, build_active_set, grade_rows
from .blocks import FitBlock, frozen_digests, reference_column
from .design import design_rows
from .design.row_source import Baseline
from .least_squares import Posterior, Spectrum, cross_validated_ridge, triangle_of, without_zero
from .potential import AcePotential
from .weights import labelled_kinds

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ridge:
    """How strong the prior is: a number (dimensionless), 'evidence' or 'cross-validation'; never below ``floor``.

    Without a floor cross-validation runs to the bottom of any grid on labels free of noise, and the worst of the
    splits is then wrong by 0.3 eV/Å.
    """

    value: float | str = 'evidence'
    floor: float = 1e-13

    @classmethod
    def from_config(cls, config: FitConfig) -> Ridge:
        """Return what the settings ask for."""
        return cls(value=config.ridge or 'evidence', floor=config.ridge_floor)


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """The fitted potential, its active set, metrics of plain JSON values, the ridge used (dimensionless), posterior.

    ``posterior`` is of the coefficients, followed by the E0 of the elements where these were unknowns too.
    """

    potential: AcePotential
    active_set: ActiveSet
    metrics: Mapping[str, Any]
    ridge: float
    posterior: Posterior

    def energy_variance(self, atoms: Atoms) -> float:
        """Return the posterior variance of the energy of a structure, eV²."""
        return float(self.posterior.variance(self._with_counts(design_rows(self.potential, atoms).energy, atoms)))

    def force_variance(self, atoms: Atoms) -> Array:
        """Return the posterior variance of each force component, (n, 3) (eV/Å)²."""
        rows = design_rows(self.potential, atoms).forces
        padding = np.zeros((*rows.shape[:2], len(self.posterior.root) - rows.shape[2]))
        return self.posterior.variance(np.concatenate([rows, padding], axis=2))

    def _with_counts(self, row: Array, atoms: Atoms) -> Array:
        """Append the number of atoms of each element where E0 were unknowns."""
        if len(self.posterior.root) == len(row):
            return row
        species = self.potential.species_index(atoms.get_chemical_symbols())
        return np.append(row, np.bincount(species, minlength=len(self.potential.elements)))


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
    ridge: Ridge | float | None = None,
    own_zero: Collection[str] | None = (),
    complete: bool = False,
) -> FitResult:
    """Return the least-squares potential of the stacked blocks.

    Minimises Σ_blocks f |R c - z|² + λ Σ_k (1 + Σn² + Σl²)² c_k² with λ = ridge · mean(s²), s the singular values of
    the stacked rows with columns over the prior's scales. ``factors``: name -> f, 1 where not named, 0 forgets a
    source together with its environments; ``ridge``: a number, or how it is chosen (``None``: by evidence);
    ``own_zero`` None: E0 are unknowns too, drawn to those of ``potential`` by the same ridge (the first fit); else E0
    stay, and the energies of the named sources count up to a constant an element, as another theory's or another
    teacher's do: a departure from plain least squares, for energies of two theories have no common zero;
    ``complete``: of the active set. ``ValueError`` for a block of another basis or baseline, two blocks of one name,
    or nothing left; `TooFewEnvironments` where the active set is not complete.
    """
    rule = ridge if isinstance(ridge, Ridge) else Ridge(value='evidence' if ridge is None else ridge)
    problem = _Problem.of(blocks, potential, factors, own_zero)
    spectrum = problem.spectrum()
    chosen = _choose_ridge(rule, spectrum, problem)
    unknowns, posterior = spectrum.coefficients(chosen), Posterior.of(spectrum, chosen)
    fitted = problem.potential_of(unknowns)
    kept = problem.blocks
    active_set = build_active_set(
        {element: np.concatenate([block.candidates[element] for block in kept]) for element in potential.elements},
        complete=complete,
    )
    metrics: dict[str, Any] = {
        'sources': {block.name: _source_metrics(block, fitted, active_set, factors, own_zero or ()) for block in kept},
        'ridge': chosen,
        'n_rows': spectrum.n_rows,
        'n_functions': list(potential.n_functions),
        'n_effective': float((spectrum.values**2 / (spectrum.values**2 + chosen * spectrum.unit)).sum()),
        'n_duplicates_between_sources': _shared_frames(kept),
    }
    for name, rows in problem.rows.items():
        metrics['sources'][name]['leverage'] = float(posterior.leverage(rows[:, :-1]).sum())
    return FitResult(potential=fitted, active_set=active_set, metrics=metrics, ridge=chosen, posterior=posterior)


def leave_one_block_out(
    blocks: Sequence[FitBlock],
    potential: AcePotential,
    *,
    factors: Mapping[str, float],
    ridge: float,
    own_zero: Collection[str] | None = (),
) -> dict[str, dict[str, float]]:
    """Return name -> kind -> root mean square error of a source in the fit of all others, from the factors alone.

    Units as `FitBlock.errors`; ``ridge`` in the unit of the whole fit. ``ValueError`` for fewer than two blocks.
    """
    problem = _Problem.of(blocks, potential, factors, own_zero)
    if len(problem.blocks) < 2:
        raise ValueError('leaving one block out needs at least 2 blocks with a factor > 0, found 1')
    unit, errors = problem.spectrum().unit, {}
    for block in problem.blocks:
        spectrum = problem.spectrum(without=block.name)
        fitted = problem.potential_of(spectrum.coefficients(ridge * unit / spectrum.unit))
        errors[block.name] = block.errors(fitted, own_zero=block.name in (own_zero or ()))
    return errors


@dataclass(frozen=True, kw_only=True)
class _Problem:
    """The blocks that count and their weighted rows [A|y], A with the E0 where these are unknowns."""

    potential: AcePotential
    blocks: list[FitBlock]
    factors: Mapping[str, float]
    own_zero: Collection[str] | None
    rows: dict[str, Array]

    @classmethod
    def of(
        cls,
        blocks: Sequence[FitBlock],
        potential: AcePotential,
        factors: Mapping[str, float],
        own_zero: Collection[str] | None,
    ) -> _Problem:
        kept = _kept_blocks(blocks, factors)
        for block in kept:
            block.check_frozen({**frozen_digests(potential, None), 'baseline': kept[0].frozen['baseline']})
        empty = cls(potential=potential, blocks=kept, factors=factors, own_zero=own_zero, rows={})
        return replace(empty, rows={block.name: empty.rows_of(block, block.weighted_factor()) for block in kept})

    def rows_of(self, block: FitBlock, rows: Array) -> Array:
        """Return [A|y] of some rows [A|x|y] of a block."""
        count, reference = len(self.potential.coefficients), reference_column(self.potential)
        scaled = np.sqrt(self.factors.get(block.name, 1.0)) * rows
        if block.name in (self.own_zero or ()):
            scaled = without_zero(scaled, count)
        target = scaled[:, -1] - scaled[:, count:-1] @ reference
        unknowns = count + (len(reference) if self.own_zero is None else 0)
        return np.column_stack([scaled[:, :unknowns], target])

    @property
    def scales(self) -> Array:
        """The prior's scales of all unknowns."""
        scales = prior_scales(self.potential)
        return np.append(scales, np.ones(len(self.potential.elements))) if self.own_zero is None else scales

    def spectrum(self, *, without: str | None = None) -> Spectrum:
        """Decompose the stacked rows of all blocks, or of all but one."""
        used = [block for block in self.blocks if block.name != without]
        n_rows = sum(sum(block.n_rows.values()) for block in used)
        return Spectrum.of(triangle_of([self.rows[block.name] for block in used]), self.scales, n_rows=n_rows)

    def folds(self) -> list[Array]:
        """Return the rows of all groups that cross-validation leaves out."""
        return [self.rows_of(block, part) for block in self.blocks for part in block.parts()]

    def potential_of(self, unknowns: Array) -> AcePotential:
        """Return the potential with these coefficients, and these shifts of E0 where they are unknowns."""
        count = len(self.potential.coefficients)
        fitted = self.potential.with_coefficients(unknowns[:count])
        if self.own_zero is not None:
            return fitted
        shifted = reference_column(self.potential) + unknowns[count:]
        return fitted.with_reference_energies(dict(zip(self.potential.elements, shifted.tolist(), strict=True)))


def _choose_ridge(rule: Ridge, spectrum: Spectrum, problem: _Problem) -> float:
    if rule.value == 'evidence':
        return spectrum.evidence_ridge(rule.floor)
    if rule.value == 'cross-validation':
        return cross_validated_ridge(problem.folds(), problem.scales, unit=spectrum.unit, floor=rule.floor)
    if isinstance(rule.value, str):
        raise ValueError(f"ridge is {rule.value!r}, expected a number, 'evidence' or 'cross-validation'")
    return max(rule.value, rule.floor)


def _shared_frames(blocks: Sequence[FitBlock]) -> int:
    """Return how many structures more than one source holds; a long history is searched, not sorted again."""
    history, *others = sorted((block.fingerprints for block in blocks), key=len, reverse=True)
    rest = np.concatenate([history[:0], *others])
    unique = np.unique(rest)
    places = np.minimum(np.searchsorted(history, unique), len(history) - 1)
    return len(rest) - len(unique) + int(np.count_nonzero(history[places] == unique))


def _kept_blocks(blocks: Sequence[FitBlock], factors: Mapping[str, float]) -> list[FitBlock]:
    names = [block.name for block in blocks]
    if len(set(names)) < len(names):
        raise ValueError(f'blocks have names {names}, expected each once: a source counts once')
    negative = {name: factor for name, factor in factors.items() if not (np.isfinite(factor) and factor >= 0)}
    if negative:
        raise ValueError(f'factors {negative} must be finite and ≥ 0')
    kept = [block for block in blocks if factors.get(block.name, 1.0) > 0]
    if not kept:
        raise ValueError(f'no block with a factor > 0 among {names}: nothing to fit')
    return kept


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
        'n_frames_unweighted': block.n_unweighted,
        'n_duplicate_frames': block.n_duplicates,
        'theory': block.theory,
        'factor': factors.get(block.name, 1.0),
        'largest_gamma_of_candidates': grades,
    }
