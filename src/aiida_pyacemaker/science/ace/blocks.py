"""Fit blocks: what a source of labels says about the coefficients, as QR factors of constant size."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ..frames import Frames
from .active_set import CandidateStream
from .design import DesignRows, design_rows
from .potential import AcePotential
from .weights import KINDS, RowWeights, atoms_too_close, labelled_kinds

Array = NDArray[np.float64]

BUFFERED_ROWS = 2000  # rows of [A|y] held before they are folded into R (at least twice its size)


class Baseline(Protocol):
    """What a block needs of a baseline."""

    @property
    def digest(self) -> str:
        """The sha256 of its parameters."""
        ...

    def evaluate(self, atoms: Atoms) -> tuple[Array, Array, Array]:
        """Return energies (n,) eV, forces (n, 3) eV/Å and stress (6,) eV/Å³."""
        ...


def without_zero(rows: Array, count: int) -> Array:
    """Return rows of [A|x|y], A of ``count`` columns, without what x explains of every column: x no longer counts."""
    fractions = rows[:, count:-1]
    rest = rows.copy()
    rest[:, count:-1] = 0.0
    return np.asarray(rest - fractions @ (np.linalg.pinv(fractions, rcond=1e-10) @ rest))


@dataclass(frozen=True, kw_only=True)
class FitBlock:
    """One source under a frozen basis and baseline.

    factors: kind -> R (≤ P + E + 1, P + E + 1) of the QR of [A|x|y] of that kind, rows times the root of their own
    weight (``force_weight``; 1 for energy per atom and virial per atom), x the fractions of the E elements (energy
    rows; else 0), so that reference energies are chosen at the solve, and y = label - baseline; weight_sums: kind ->
    sum of these weights; n_rows: kind -> rows; candidates: element -> (m ≤ N, N) active environments with weight > 0;
    frozen: what must be equal to add blocks; theory: kind of theory of the labels.
    """

    name: str
    factors: Mapping[str, Array]
    weight_sums: Mapping[str, float]
    n_rows: Mapping[str, int]
    candidates: Mapping[str, Array]
    weights: RowWeights
    frozen: Mapping[str, str]
    theory: str
    n_frames: int
    n_too_close: int
    content_digest: str

    def weighted_factor(self) -> Array:
        """Return (k, P + E + 1) the stacked R of all kinds with the row weights, normalised to one source."""
        row_factors = self.weights.row_factors(self.weight_sums)
        return np.concatenate([factor * self.factors[kind] for kind, factor in row_factors.items()])

    def errors(self, potential: AcePotential, *, own_zero: bool = False) -> dict[str, float]:
        """Return kind -> root mean square error: energy eV/atom, forces eV/Å (a component), virial eV/atom.

        ``own_zero``: energies are compared up to the constant an element that suits them best.
        """
        solution = np.concatenate([potential.linear_coefficients, reference_column(potential), [-1.0]])
        count = len(potential.coefficients)
        rows = {kind: without_zero(factor, count) if own_zero else factor for kind, factor in self.factors.items()}
        return {
            kind: float(np.linalg.norm(factor @ solution) / np.sqrt(self.weight_sums[kind]))
            for kind, factor in rows.items()
        }

    def check_frozen(self, frozen: Mapping[str, str]) -> None:
        """Raise ``ValueError`` that names each thing in which this block differs from ``frozen``."""
        rows = [
            f'{key}: block has {self.frozen.get(key)!s:.80}, the potential {value!s:.80}'
            for key, value in frozen.items()
            if self.frozen.get(key) != value
        ]
        if rows:
            raise ValueError(f'block {self.name!r} was made for another fit ({"; ".join(rows)}): make it again')

    def save(self, path: str | Path) -> None:
        """Write everything to an ``.npz`` file."""
        header = {
            'name': self.name,
            'weight_sums': dict(self.weight_sums),
            'n_rows': dict(self.n_rows),
            'weights': asdict(self.weights),
            'frozen': dict(self.frozen),
            'theory': self.theory,
            'n_frames': self.n_frames,
            'n_too_close': self.n_too_close,
            'content_digest': self.content_digest,
        }
        arrays = {f'factor_{kind}': factor for kind, factor in self.factors.items()}
        arrays |= {f'candidates_{element}': rows for element, rows in self.candidates.items()}
        with Path(path).open('wb') as handle:
            np.savez(handle, allow_pickle=False, header=np.array(json.dumps(header)), **arrays)

    @classmethod
    def load(cls, path: str | Path) -> FitBlock:
        """Read what :meth:`save` wrote; ``ValueError`` names a file that is no such block."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            header = json.loads(str(arrays.pop('header')))
            header['weights'] = RowWeights(**header['weights'])
            parts: dict[str, dict[str, Array]] = {'factor': {}, 'candidates': {}}
            for name, values in arrays.items():
                part, _, key = name.partition('_')
                parts[part][key] = values
            return cls(**header, factors=parts['factor'], candidates=parts['candidates'])
        except (OSError, KeyError, TypeError, ValueError, EOFError) as error:
            raise ValueError(f'{path} is not a fit block: {error}') from error


def frozen_digests(potential: AcePotential, baseline: Baseline | None) -> dict[str, str]:
    """Return what blocks must share: the digests of basis and baseline."""
    return {'basis': potential.digest, 'baseline': baseline.digest if baseline is not None else 'none'}


def reference_column(potential: AcePotential) -> Array:
    """Return (E,) the reference energies in the order of the elements, eV."""
    return np.array([potential.reference_energies[element] for element in potential.elements])


def make_fit_block(
    frames: Frames,
    potential: AcePotential,
    *,
    name: str,
    baseline: Baseline | None = None,
    weights: RowWeights,
    on_frame: Callable[[int], None] | None = None,
) -> FitBlock:
    """Return the block of all labelled frames; memory is bounded, ``on_frame(done)`` is called after each frame.

    Atoms closer to another than the inner cut-off give no rows, nor do energy and stress of their frames; their
    number is in ``n_too_close``. ``ValueError`` names the frame with a label or design row that is not finite.
    """
    close = [atoms_too_close(atoms, potential) for atoms in frames.iter_atoms()]
    dropped = np.concatenate([np.zeros(0, dtype=bool), *close]) & (frames.force_weight > 0)
    digest = frames.content_digest()
    frames = frames.with_columns(force_weight=np.where(dropped, 0.0, frames.force_weight))
    factors = {kind: _StreamedFactor(len(potential.coefficients) + len(potential.elements) + 1) for kind in KINDS}
    environments = [CandidateStream(count) for count in potential.n_functions]
    for index in range(len(frames)):
        kinds = labelled_kinds(frames, index)
        if kinds:
            atoms = frames.atoms(index)
            design = design_rows(potential, atoms)
            species = potential.species_index(atoms.get_chemical_symbols())
            fractions = np.bincount(species, minlength=len(potential.elements)) / len(atoms)
            rows = _rows_of_frame(frames, index, design, _reference(baseline, atoms))
            for kind in kinds:
                known = fractions if kind == 'energy' else 0.0 * fractions
                factors[kind].add(*rows[kind], known, where=f'frame {index} of {name!r}')
            for atom in np.flatnonzero(frames.force_weight[frames.span(index)] > 0):
                environments[species[atom]].add(design.projections[int(atom)][None])
        if on_frame is not None:
            on_frame(index + 1)
    present = {kind: factor for kind, factor in factors.items() if factor.n_rows}
    return FitBlock(
        name=name,
        factors={kind: factor.result() for kind, factor in present.items()},
        weight_sums={kind: factor.weight_sum for kind, factor in present.items()},
        n_rows={kind: factor.n_rows for kind, factor in present.items()},
        candidates={e: kept.result() for e, kept in zip(potential.elements, environments, strict=True)},
        weights=weights,
        frozen=frozen_digests(potential, baseline),
        theory=theory_of(frames),
        n_frames=len(frames),
        n_too_close=int(np.count_nonzero(dropped)),
        content_digest=digest,
    )


def theory_of(frames: Frames) -> str:
    """Return the kind of theory of the labels ('dft', 'teacher', ...), joined by '+' where a source mixes them."""
    kinds = {str(frames.theories[row].get('kind', 'unknown')) for row in np.unique(frames.theory_id) if row >= 0}
    return '+'.join(sorted(kinds)) or 'unknown'


def _reference(baseline: Baseline | None, atoms: Atoms) -> tuple[float, Array, Array]:
    """Return energy eV, forces (n, 3) eV/Å and stress (6,) eV/Å³ that the coefficients need not explain."""
    if baseline is None:
        return 0.0, np.zeros((len(atoms), 3)), np.zeros(6)
    energies, forces, stress = baseline.evaluate(atoms)
    return float(energies.sum()), forces, stress


def _rows_of_frame(
    frames: Frames, index: int, design: DesignRows, reference: tuple[float, Array, Array]
) -> dict[str, tuple[Array, Array, Array]]:
    """Return kind -> (A (k, P), y (k,), weights (k,)) of one frame; energy and virial are per atom."""
    span = frames.span(index)
    count = span.stop - span.start
    energy, forces, stress = reference
    volume = abs(float(np.linalg.det(frames.cells[index])))
    learnt = frames.force_weight[span] > 0
    n_parameters = design.energy.shape[0]
    return {
        'energy': (design.energy[None] / count, np.array([(frames.energy[index] - energy) / count]), np.ones(1)),
        'forces': (
            design.forces[learnt].reshape(-1, n_parameters),
            (frames.forces[span] - forces)[learnt].ravel(),
            np.repeat(frames.force_weight[span][learnt], 3),
        ),
        'stress': (design.stress * volume / count, (frames.stress[index] - stress) * volume / count, np.ones(6)),
    }


class _StreamedFactor:
    """The R factor of rows that arrive in pieces."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.pieces: list[Array] = []
        self.buffered = self.n_rows = 0
        self.weight_sum = 0.0

    def add(self, design: Array, target: Array, weights: Array, fractions: Array, *, where: str) -> None:
        """Append rows; ``ValueError`` names ``where`` they come from when they are not finite."""
        known = np.broadcast_to(fractions, (len(target), len(fractions)))
        rows = np.column_stack([design, known, target]) * np.sqrt(weights)[:, None]
        if not np.isfinite(rows).all():
            raise ValueError(f'{where} has design rows or targets that are NaN or inf: remove it, atoms may coincide')
        self.pieces.append(rows)
        self.buffered += len(rows)
        self.n_rows += len(rows)
        self.weight_sum += float(weights.sum())
        if self.buffered > max(BUFFERED_ROWS, 2 * self.width):
            self.pieces = [self.result()]
            self.buffered = len(self.pieces[0])

    def result(self) -> Array:
        """Return R (≤ width, width)."""
        return np.asarray(np.linalg.qr(np.concatenate(self.pieces), mode='r'))
