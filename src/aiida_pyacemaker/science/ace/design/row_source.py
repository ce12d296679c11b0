"""Rows of the linear problem, frame by frame: weights, design rows and labels put together."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ...frames import Frames
from ..active_set import environments_of
from ..potential import AcePotential
from ..weights import FrameWeights, RowFactors, RowWeights, atoms_too_close, weigh_frame
from .rows import DesignRows, design_rows

Array = NDArray[np.float64]

QUEUED_FRAMES = 4  # frames a thread may be ahead of the factors


class Baseline(Protocol):
    """What a block needs of a baseline."""

    @property
    def digest(self) -> str:
        """The sha256 of its parameters."""
        ...

    def evaluate(self, atoms: Atoms) -> tuple[Array, Array, Array]:
        """Return energies (n,) eV, forces (n, 3) eV/Å and stress (6,) eV/Å³."""
        ...


@dataclass(frozen=True, kw_only=True)
class FrameRows:
    """What one frame gives; empty where no row counts.

    values: kind -> rows [A|x|y] (k, P + E + 1) and weights (k,); environments: element -> B of its atoms that count
    (m, N); n_too_close: atoms left to the baseline.
    """

    index: int
    values: dict[str, tuple[Array, Array]]
    environments: dict[int, Array]
    n_too_close: int


def rows_of_frames(
    frames: Frames,
    potential: AcePotential,
    baseline: Baseline | None,
    weighing: tuple[RowWeights, RowFactors | None],
    n_threads: int,
) -> Iterator[FrameRows]:
    """Yield the rows of every frame in order; the kernels run in ``n_threads`` threads, without the interpreter."""

    def compute(index: int) -> FrameRows:
        return rows_of_frame(frames, index, potential, baseline, weighing)

    if n_threads < 2 or len(frames) < 2:
        yield from map(compute, range(len(frames)))
        return
    yield compute(0)  # compiles, which threads must not do at once
    with ThreadPoolExecutor(n_threads) as pool:
        waiting: deque[Future[FrameRows]] = deque()
        for index in range(1, len(frames)):
            waiting.append(pool.submit(compute, index))
            if len(waiting) > QUEUED_FRAMES * n_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def rows_of_frame(
    frames: Frames,
    index: int,
    potential: AcePotential,
    baseline: Baseline | None,
    weighing: tuple[RowWeights, RowFactors | None],
) -> FrameRows:
    """Return the rows of one frame: only forces of atoms that count, energy and virial (per atom) where they do."""
    atoms = frames.atoms(index)
    weights = _weigh(frames, index, atoms, potential, weighing)
    kinds = weights.kinds
    if not kinds:
        return FrameRows(index=index, values={}, environments={}, n_too_close=weights.n_too_close)
    counted = weights.counted
    design = design_rows(potential, atoms, core=None if counted.all() else counted)
    targets = _targets(frames, index, baseline, atoms)
    species = potential.species_index(atoms.get_chemical_symbols())
    fractions = np.bincount(species, minlength=len(potential.elements)) / len(atoms)
    return FrameRows(
        index=index,
        values={kind: _rows_of_kind(kind, weights, design, targets, fractions) for kind in kinds},
        environments=_by_element(design.projections, species[counted]),
        n_too_close=weights.n_too_close,
    )


def learnt_environments(
    frames: Frames, potential: AcePotential, weighing: tuple[RowWeights, RowFactors | None]
) -> Iterator[tuple[int, Array]]:
    """Yield element and B projections (k, N) of the atoms that count, frame by frame, without design rows."""
    for index in range(len(frames)):
        atoms = frames.atoms(index)
        yield from environments_of(potential, atoms, _weigh(frames, index, atoms, potential, weighing).counted)


def _weigh(
    frames: Frames,
    index: int,
    atoms: Atoms,
    potential: AcePotential,
    weighing: tuple[RowWeights, RowFactors | None],
) -> FrameWeights:
    """Return what the rows of one frame count."""
    row_weights, factors = weighing
    return weigh_frame(frames, index, row_weights, close=atoms_too_close(atoms, potential), factors=factors)


def _by_element(projections: list[Array], species: NDArray[np.int64]) -> dict[int, Array]:
    """Return element -> (m, N) the projections of its atoms."""
    rows: dict[int, list[Array]] = {}
    for row, element in zip(projections, species.tolist(), strict=True):
        rows.setdefault(element, []).append(row)
    return {element: np.array(found) for element, found in rows.items()}


def _targets(frames: Frames, index: int, baseline: Baseline | None, atoms: Atoms) -> dict[str, Array]:
    """Return what the coefficients must explain: energy and virial per atom (eV), forces (n, 3) eV/Å; the volume."""
    span = frames.span(index)
    energy, forces, stress = frames.energy[index], frames.forces[span], frames.stress[index]
    if baseline is not None:
        energies, known_forces, known_stress = baseline.evaluate(atoms)
        energy, forces, stress = energy - energies.sum(), forces - known_forces, stress - known_stress
    volume = np.array([abs(float(np.linalg.det(frames.cells[index])))])
    energy, stress = np.array([energy / len(atoms)]), stress * volume / len(atoms)
    return {'energy': energy, 'forces': forces, 'stress': stress, 'volume': volume}


def _rows_of_kind(
    kind: str, weights: FrameWeights, design: DesignRows, targets: dict[str, Array], fractions: Array
) -> tuple[Array, Array]:
    """Return rows [A|x|y] (k, P + E + 1) and weights (k,) of one kind."""
    count, n_parameters = len(weights.forces), len(design.energy)
    target = targets[kind]
    if kind == 'energy':
        values, own = design.energy[None] / count, np.array([weights.energy])
    elif kind == 'stress':
        values, own = design.stress * targets['volume'] / count, np.full(6, weights.stress)
    else:
        learnt = weights.forces > 0
        forces = design.forces[learnt] if len(design.forces) == count else design.forces
        values, own = forces.reshape(-1, n_parameters), np.repeat(weights.forces[learnt], 3)
        target = target[learnt].ravel()
    rows = np.zeros((len(target), n_parameters + len(fractions) + 1))
    rows[:, :n_parameters], rows[:, -1] = values, target
    if kind == 'energy':
        rows[:, n_parameters:-1] = fractions
    return rows, own
