"""Fit blocks: what a source of labels says about the coefficients, as QR factors of constant size."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frames import Frames
from .active_set import CandidateStream, fill, results_of
from .design.row_source import Baseline, FrameRows, learnt_environments, rows_of_frames
from .least_squares import StreamedFactor, triangle_of, without_zero
from .potential import AcePotential
from .weights import KINDS, RowFactors, RowWeights, mean_force_weight

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FitBlock:
    """One source under a frozen basis and baseline.

    factors: kind -> R (≤ P + E + 1, P + E + 1) of the QR of [A|x|y] of that kind, rows times the root of their own
    weight (``force_weight``; 1 for energy per atom and virial per atom), x the fractions of the E elements (energy
    rows; else 0), so that reference energies are chosen at the solve, and y = label - baseline; weight_sums: kind ->
    sum of these weights; n_rows: kind -> rows; candidates: element -> (m ≤ N, N) active environments with weight > 0;
    frozen: what must be equal to add blocks; theory: kind of theory of the labels; n_unweighted: labelled frames that
    gave no row because all their weights are 0; fingerprints: (k,) of the structures, ascending;
    n_duplicates: frames whose structure is that of an earlier one, they count twice; folds: the factors of
    the groups of frames that cross-validation leaves out, empty where none was asked for; mean_force_weight: see
    `.weights.mean_force_weight`.
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
    fingerprints: NDArray[np.uint64]
    n_duplicates: int = 0
    n_unweighted: int = 0
    mean_force_weight: float = 1.0
    folds: tuple[Mapping[str, Array], ...] = ()

    def parts(self) -> list[Array]:
        """Return the weighted factors of the folds, or that of the block where it has none."""
        row_factors = self.weights.row_factors(self.weight_sums)
        stacks = self.folds or (self.factors,)
        return [np.concatenate([row_factors[kind] * factor for kind, factor in stack.items()]) for stack in stacks]

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
            f'{key}: block has {self.frozen.get(key)!s:.80}, the fit {value!s:.80}'
            for key, value in frozen.items()
            if self.frozen.get(key) != value
        ]
        if rows:
            raise ValueError(
                f'block {self.name!r} was made for another fit ({"; ".join(rows)}): its rows cannot be changed any '
                'more, keep these as they were, or make all blocks again from their frames (a fit without `blocks`)'
            )

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
            'n_unweighted': self.n_unweighted,
            'n_duplicates': self.n_duplicates,
            'mean_force_weight': self.mean_force_weight,
        }
        arrays: dict[str, Any] = {f'factor_{kind}': factor for kind, factor in self.factors.items()}
        arrays |= {f'candidates_{element}': rows for element, rows in self.candidates.items()}
        for index, fold in enumerate(self.folds):
            arrays |= {f'fold_{index}_{kind}': rows for kind, rows in fold.items()}
        with Path(path).open('wb') as handle:
            np.savez(
                handle,
                allow_pickle=False,
                header=np.array(json.dumps(header)),
                fingerprints=self.fingerprints,
                **arrays,
            )

    @classmethod
    def load(cls, path: str | Path) -> FitBlock:
        """Read what :meth:`save` wrote; ``ValueError`` names a file that is no such block."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            header = json.loads(str(arrays.pop('header')))
            header['weights'] = RowWeights(**header['weights'])
            fingerprints = arrays.pop('fingerprints')
            parts: dict[str, dict[str, Array]] = {'factor': {}, 'candidates': {}, 'fold': {}}
            for name, values in arrays.items():
                part, _, key = name.partition('_')
                parts[part][key] = values
            folds: dict[str, dict[str, Array]] = {}
            for key, values in parts['fold'].items():
                index, _, kind = key.partition('_')
                folds.setdefault(index, {})[kind] = values
            return cls(
                **header,
                factors=parts['factor'],
                candidates=parts['candidates'],
                fingerprints=fingerprints,
                folds=tuple(folds[index] for index in sorted(folds, key=int)),
            )
        except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f'{path} is not a fit block: {error}') from error


def frozen_digests(potential: AcePotential, baseline: Baseline | None) -> dict[str, str]:
    """Return what blocks must share: the digests of basis and baseline, and the scales of the kinds of rows.

    Reference energies are chosen at the solve, so no block depends on them; the weights within a source are in its
    rows (``FitBlock.weights`` says which they were).
    """
    return {
        'basis': potential.digest,
        'baseline': baseline.digest if baseline is not None else 'none',
        'scaling': json.dumps(RowWeights.scales, sort_keys=True),
    }


def reference_column(potential: AcePotential) -> Array:
    """Return (E,) the reference energies in the order of the elements, eV."""
    return np.array([potential.reference_energies[element] for element in potential.elements])


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """How a block is made.

    on_frame: called with the number of frames done; factors: on rows beyond their columns; n_folds: groups of frames
    kept apart for cross-validation, 0 for none; n_threads: frames whose rows are computed at once.
    """

    on_frame: Callable[[int], None] | None = None
    factors: RowFactors | None = None
    n_folds: int = 0
    n_threads: int = 1


DEFAULT_ASSEMBLY = Assembly()


def make_fit_block(
    frames: Frames,
    potential: AcePotential,
    *,
    name: str,
    weights: RowWeights,
    baseline: Baseline | None = None,
    assembly: Assembly = DEFAULT_ASSEMBLY,
) -> FitBlock:
    """Return the block of all frames; memory is bounded however many they are, the same for any number of threads.

    Atoms inside the inner cut-off give no rows, nor do energy and stress of their frames (``n_too_close``).
    ``ValueError`` names an unlabelled frame, a label or row that is not finite, and a source of which no row counts.
    """
    _check_labels(frames, name)
    streams = _Streams(potential, max(assembly.n_folds, 1))
    folds = _fold_of_frames(frames, len(streams.factors))
    n_too_close = n_unweighted = 0
    weighing = weights, assembly.factors
    for rows in rows_of_frames(frames, potential, baseline, weighing, assembly.n_threads):
        try:
            streams.add(rows, folds[rows.index])
        except ValueError as error:
            raise ValueError(f'frame {rows.index} of {name!r}: {error}') from error
        n_too_close += rows.n_too_close
        n_unweighted += not rows.values
        if assembly.on_frame is not None:
            assembly.on_frame(rows.index + 1)
    if n_unweighted == len(frames):
        raise ValueError(
            f'source {name!r} has no row that counts: {n_too_close} atoms of its {len(frames)} frames are inside the '
            'inner cut-off, all others have weight 0; expected force_weight > 0 and group weights > 0 somewhere, or '
            'leave the source out'
        )
    streams.settle(lambda: learnt_environments(frames, potential, weighing))
    fingerprints = np.unique(frames.fingerprints()[:, :8].copy().view(np.uint64).ravel())
    return FitBlock(
        name=name,
        **streams.results(assembly.n_folds > 0),
        candidates=results_of(streams.environments, potential),
        weights=weights,
        frozen=frozen_digests(potential, baseline),
        theory=theory_of(frames),
        n_frames=len(frames),
        n_too_close=n_too_close,
        content_digest=frames.content_digest(),
        fingerprints=fingerprints,
        n_duplicates=len(frames) - len(fingerprints),
        n_unweighted=n_unweighted,
        mean_force_weight=mean_force_weight(frames),
    )


def _check_labels(frames: Frames, name: str) -> None:
    """Raise ``ValueError`` for a source without frames or with frames that no one has labelled."""
    if not len(frames):
        raise ValueError(f'source {name!r} holds no frames, expected at least one: leave it out')
    bare = np.flatnonzero(frames.label_mask == 0)
    if len(bare):
        raise ValueError(
            f'{len(bare)} of {len(frames)} frames of source {name!r} have no label (label_mask 0), the first is frame '
            f'{bare[0]}: label them, or select the labelled ones (`rows`)'
        )


def _fold_of_frames(frames: Frames, n_folds: int) -> NDArray[np.int64]:
    """Return (N,) the fold of each frame: frames of one group together, the groups dealt in order of appearance."""
    alone = np.where(frames.group < 0, -1 - np.arange(len(frames)), frames.group)
    _, first, inverse = np.unique(alone, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[inverse] % n_folds, dtype=np.int64)


class _Streams:
    """The factors of each fold and kind, and the environments of each element, while rows arrive."""

    def __init__(self, potential: AcePotential, n_folds: int) -> None:
        width = len(potential.coefficients) + len(potential.elements) + 1
        self.factors = [{kind: StreamedFactor(width) for kind in KINDS} for _ in range(n_folds)]
        self.environments = [CandidateStream(count) for count in potential.n_functions]

    def add(self, rows: FrameRows, fold: int) -> None:
        """Append all rows and environments of one frame."""
        for kind, (values, row_weights) in rows.values.items():
            self.factors[fold][kind].add(values, row_weights)
        for element, environments in rows.environments.items():
            self.environments[element].add(environments)

    def settle(self, environments: Callable[[], Iterator[tuple[int, Array]]]) -> None:
        """Go through all environments again where some were left out early, until they are within the active ones."""
        if any([stream.settle() for stream in self.environments]):
            fill(self.environments, environments)

    def results(self, with_folds: bool) -> dict[str, Any]:
        """Return factors, sums of weights, numbers of rows and folds, by kind where it has rows."""
        present = [kind for kind in KINDS if any(fold[kind].n_rows for fold in self.factors)]
        parts = [{kind: fold[kind].result() for kind in present if fold[kind].n_rows} for fold in self.factors]
        return {
            'factors': {kind: triangle_of([part[kind] for part in parts if kind in part]) for kind in present},
            'weight_sums': {kind: sum(fold[kind].weight_sum for fold in self.factors) for kind in present},
            'n_rows': {kind: sum(fold[kind].n_rows for fold in self.factors) for kind in present},
            'folds': tuple(part for part in parts if part) if with_folds else (),
        }


def theory_of(frames: Frames) -> str:
    """Return the kind of theory of the labels ('dft', 'teacher', ...), joined by '+' where a source mixes them."""
    kinds = {str(frames.theories[row].get('kind', 'unknown')) for row in np.unique(frames.theory_id) if row >= 0}
    return '+'.join(sorted(kinds)) or 'unknown'
