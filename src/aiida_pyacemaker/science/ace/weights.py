"""What each label counts in the fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ..config import FitConfig
from ..frames import HAS_ENERGY, HAS_FORCES, HAS_STRESS, Frames
from .evaluator import neighbours_of
from .potential import AcePotential

Array = NDArray[np.float64]

KINDS = ('energy', 'forces', 'stress')


@dataclass(frozen=True, kw_only=True)
class RowWeights:
    """Weights of the mean squared errors of energy (eV/atom), force components (eV/Å) and virial (eV/atom).

    One source's loss is Σ_kind w_kind <(Δ_kind/scale_kind)²> / Σ_kind w_kind over the kinds it has labels of: a
    source counts 1 however many frames it holds. The mean over force components is weighted by ``force_weight``.
    Scales bring the kinds to the accuracy aimed at, 1 meV/atom, 0.1 eV/Å and 10 meV/atom, so that w are plain
    importances. groups: config_type -> factor on all rows of such frames; force_ceiling: eV/Å, see `weigh_frame`.
    """

    energy: float = 1.0
    forces: float = 100.0
    stress: float = 10.0
    groups: Mapping[str, float] = field(default_factory=dict)
    force_ceiling: float | None = None

    scales = {'energy': 1e-3, 'forces': 0.1, 'stress': 1e-2}

    @classmethod
    def from_config(cls, config: FitConfig) -> RowWeights:
        """Return the weights that the settings ask for."""
        return cls(
            energy=config.weight_energy,
            forces=config.weight_forces,
            stress=config.weight_stress,
            groups=dict(config.group_weights),
            force_ceiling=config.force_ceiling,
        )

    def row_factors(self, weight_sums: Mapping[str, float]) -> dict[str, float]:
        """Return kind -> the factor on the rows of a source whose own weights add to ``weight_sums[kind]``.

        The squares of all row weights, before the scales, add to 1. ``ValueError`` when nothing is left.
        """
        present = {kind: getattr(self, kind) for kind in KINDS if weight_sums.get(kind, 0.0) > 0}
        total = sum(present.values())
        if total <= 0:
            raise ValueError(f'no labels with weight > 0, found sums {dict(weight_sums)}: check label_mask and weights')
        return {
            kind: float(np.sqrt(weight / total / weight_sums[kind])) / self.scales[kind]
            for kind, weight in present.items()
        }


@dataclass(frozen=True, kw_only=True)
class FrameWeights:
    """What the rows of one frame count: energy and stress, 0 where not learnt; forces: (n,) an atom.

    n_too_close: atoms that would count, were they not inside the inner cut-off.
    """

    energy: float
    forces: Array
    stress: float
    n_too_close: int = 0

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of rows that count."""
        return tuple(kind for kind in KINDS if np.any(getattr(self, kind) > 0))

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which atoms the rows are about, (n,): all where energy or stress counts, else those whose forces do."""
        return np.full(len(self.forces), self.energy > 0 or self.stress > 0) | (self.forces > 0)


@dataclass(frozen=True, kw_only=True)
class RowFactors:
    """Factors on the rows of a source beyond its columns: frames: (N,) on energy and stress; atoms: (M,) on forces."""

    frames: Array
    atoms: Array


def weigh_frame(
    frames: Frames, index: int, weights: RowWeights, *, close: NDArray[np.bool_], factors: RowFactors | None = None
) -> FrameWeights:
    """Return what each row of one frame counts in its source; everything that weighs a row is here.

    Masks: only labelled kinds (`labelled_kinds`) of atoms with ``force_weight`` > 0 that are not ``close`` (n,) to
    another; a frame with such a pair has no energy and stress row. Groups: the factor of the frame's config_type.
    Force ceiling: above it a force counts (ceiling/|F|)², so that its relative error does; energy and stress as the
    largest force. ``factors``: whatever else, as robust re-weighting.
    """
    kinds, span = labelled_kinds(frames, index), frames.span(index)
    own = np.where(close, 0.0, frames.force_weight[span])
    n_too_close = int(np.count_nonzero(close & (frames.force_weight[span] > 0)))
    group = float(weights.groups.get(str(frames.config_type[index]), 1.0))
    forces = own * group if 'forces' in kinds else np.zeros(len(own))
    whole = 0.0 if n_too_close else group
    if weights.force_ceiling is not None and 'forces' in kinds:
        size = np.linalg.norm(np.nan_to_num(frames.forces[span]), axis=1)
        shares = np.minimum(1.0, weights.force_ceiling / np.maximum(size, 1e-300)) ** 2
        forces, whole = forces * shares, whole * float(shares[own > 0].min(initial=1.0))
    if factors is not None:
        forces, whole = forces * factors.atoms[span], whole * float(factors.frames[index])
    return FrameWeights(
        energy=whole if 'energy' in kinds else 0.0,
        forces=forces,
        stress=whole if 'stress' in kinds else 0.0,
        n_too_close=n_too_close,
    )


def mean_force_weight(frames: Frames) -> float:
    """Return the mean ``force_weight`` of the atoms whose forces are labelled and count, 1 where none does.

    Weights within a source are normalised away; by this mean, a factor on DFT sources, those of cutouts, which state
    how well their label is known, compare with other rounds' and with complete frames.
    """
    labelled = np.repeat((frames.label_mask & HAS_FORCES) > 0, np.diff(frames.offsets))
    counted = frames.force_weight[labelled & (frames.force_weight > 0)]
    return float(counted.mean()) if len(counted) else 1.0


def huber_factors(residuals: Array, threshold: float) -> Array:
    """Return min(1, threshold σ/|r|), σ = 1.4826 median |r| (Huber, Ann. Math. Stat. 35, 73, 1964); NaN gives 1."""
    size = np.abs(residuals)
    known = size[np.isfinite(size)]
    limit = threshold * 1.4826 * float(np.median(known)) if len(known) else 0.0
    return np.where(size > limit, limit / np.maximum(size, 1e-300), 1.0) if limit > 0 else np.ones_like(size)


def atoms_too_close(atoms: Atoms, potential: AcePotential) -> NDArray[np.bool_]:
    """Return (n,) which atoms have a neighbour inside the inner cut-off of the pair.

    The functions fade there and the baseline rules: labels of such atoms are not the student's to learn.
    """
    species = potential.species_index(atoms.get_chemical_symbols())
    inner = {pair: bond.inner_cutoff for pair, bond in potential.bonds.items()}
    longest = max(inner.values())
    found = np.zeros(len(atoms), dtype=bool)
    if longest > 0:
        starts, second, vectors = neighbours_of(atoms, longest)
        first, distance = np.repeat(np.arange(len(atoms)), np.diff(starts)), np.linalg.norm(vectors, axis=1)
        limits = np.array([inner[pair] for pair in zip(species[first].tolist(), species[second].tolist(), strict=True)])
        found[first[distance < limits]] = True
    return found


def labelled_kinds(frames: Frames, index: int) -> tuple[str, ...]:
    """Return the kinds of rows that frame ``index`` gives.

    Forces where labelled; energy and stress only where the complete frame counts (every ``force_weight`` > 0),
    stress only in three periodic directions. ``ValueError`` for a label that is announced but not finite.
    """
    mask, span = int(frames.label_mask[index]), frames.span(index)
    weights = frames.force_weight[span]
    complete = bool(np.all(weights > 0))
    values = {
        'energy': (HAS_ENERGY, complete, frames.energy[index]),
        'forces': (HAS_FORCES, bool(np.any(weights > 0)), frames.forces[span][weights > 0]),
        'stress': (HAS_STRESS, complete and bool(frames.pbc[index].all()), frames.stress[index]),
    }
    kinds = tuple(kind for kind, (bit, wanted, _) in values.items() if mask & bit and wanted)
    for kind in kinds:
        if not np.isfinite(values[kind][2]).all():
            raise ValueError(f'frame {index} announces {kind} in label_mask but holds NaN or inf: mask it out')
    return kinds
