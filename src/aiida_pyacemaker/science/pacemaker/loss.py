"""Weights of pacemaker's loss: the same objective as the embedded trainer's, without stress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..ace.weights import RowWeights, weigh_frame
from ..config import FitConfig
from ..frames import Frames

Array = NDArray[np.float64]
KINDS = ('energy', 'forces')  # pacemaker's loss knows no stress


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of one source; energy: (N,) a frame, forces: (M,) an atom; not normalised, 0 where there is no row."""

    energy: Array
    forces: Array


def weigh_source(frames: Frames, config: FitConfig, *, factor: float = 1.0) -> LossWeights:
    """Return the weights of the frames of one source, which counts ``factor`` however many frames it holds.

    The embedded trainer minimises f Σ_kind w_kind <(Δ_kind/scale_kind)²> / Σ_kind w_kind, a mean over the source's
    frames or force components; here each square stands with its whole factor, for pacemaker sums and does not
    average. ``ValueError`` for a label that is announced but not finite.
    """
    weights = RowWeights.from_config(config)
    energy, forces = np.zeros(len(frames)), np.zeros(frames.n_atoms)
    for index in range(len(frames)):
        span = frames.span(index)
        none_close = np.zeros(span.stop - span.start, dtype=bool)  # `drop_close_atoms` has masked them
        own = weigh_frame(frames, index, weights, close=none_close)
        energy[index], forces[span] = own.energy, own.forces
    sums = {'energy': float(energy.sum()), 'forces': 3.0 * float(forces.sum())}
    shares = {kind: getattr(weights, kind) for kind in KINDS if sums[kind] > 0}
    total = sum(shares.values())
    if total <= 0:
        return LossWeights(energy=0.0 * energy, forces=0.0 * forces)
    scaled = {kind: factor * share / total / sums[kind] / weights.scales[kind] ** 2 for kind, share in shares.items()}
    return LossWeights(energy=scaled.get('energy', 0.0) * energy, forces=scaled.get('forces', 0.0) * forces)


def force_share(sources: Sequence[LossWeights]) -> float:
    """Return κ: pacemaker makes both sums of weights 1 and multiplies energies by 1 - κ and forces by κ.

    ``ValueError`` when no row has a weight.
    """
    forces = sum(float(source.forces.sum()) for source in sources)
    energy = sum(float(source.energy.sum()) for source in sources)
    if not forces + energy > 0:
        raise ValueError('no frame has an energy or a force with weight > 0: check label_mask, force_weight, factors')
    return forces / (forces + energy)


def refuse_stress(values: Mapping[str, object]) -> str | None:
    """Return a message when the settings ``values`` of a fit ask for what pacemaker's loss does not know."""
    if values.get('weight_stress'):
        return (
            f'fit.weight_stress = {values["weight_stress"]}: the loss of pacemaker has no stress; allowed: 0 or not '
            'given with trainer.pacemaker (trainer.embedded learns stress)'
        )
    if not values.get('weight_energy', 1.0) and not values.get('weight_forces', 1.0):
        return 'fit.weight_energy and fit.weight_forces are both 0: nothing is left for pacemaker to learn'
    return None
