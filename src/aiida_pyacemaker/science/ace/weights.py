"""What each label counts in the fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
    importances.
    """

    energy: float = 1.0
    forces: float = 100.0
    stress: float = 10.0

    scales = {'energy': 1e-3, 'forces': 0.1, 'stress': 1e-2}

    @classmethod
    def from_config(cls, config: FitConfig) -> RowWeights:
        """Return the weights that the settings ask for."""
        return cls(energy=config.weight_energy, forces=config.weight_forces, stress=config.weight_stress)

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
