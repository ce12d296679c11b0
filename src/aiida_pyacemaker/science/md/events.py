"""What made MD halt, as numbers: two halts on like environments are one event, wherever and whenever they happen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import ArrayLike, NDArray
from scipy.special import eval_legendre

from ..images import images_near

Array = NDArray[np.float64]

SHELLS = np.array([0.9, 1.4, 1.9, 2.4])  # centres of the radial functions, in covalent sums
SHELL_WIDTH, REACH = 0.35, 2.6  # wider than thermal motion is; the third shell of a solid is inside
N_LEGENDRE = 5
SAME_EVENT = 0.11  # relative distance, see same_event
_NOBLE_GASES = np.array([0, 2, 10, 18, 36, 54, 86, 118])


def fingerprint(atoms: Atoms, index: int) -> tuple[float, ...]:
    """Return 61 numbers that know the environment of atom ``index`` but not where and how it lies.

    p(c,n,l) = [Σ_jk w_cj g_n(x_j) P_l(cos θ_jk) g_n(x_k) w_ck]^¼, x = r/(covalent sum), g_n wide Gaussians over x
    times a smooth cut-off; w = 1, and the steps in period and in group from the centre's element to j's, so that one
    foreign neighbour is seen among many. First comes the atomic number of the centre. The power spectrum of
    smoothed densities (Bartók et al., Phys. Rev. B 87, 184115, 2013), its root taken twice so that no shell drowns
    another. Finite positions are needed; cell and pbc are obeyed, also where the cell is smaller than the reach.
    """
    number = int(atoms.numbers[index])
    largest = float(covalent_radii[atoms.numbers].max())
    radius = REACH * float(covalent_radii[number] + largest)
    near = images_near(atoms, index, np.zeros((1, 3)), radius=radius)
    numbers, vectors = near.numbers[1:], near.positions[1:]
    lengths = np.linalg.norm(vectors, axis=1)
    scaled = lengths / (covalent_radii[number] + covalent_radii[numbers])
    inside = scaled < REACH
    scaled, units = scaled[inside], vectors[inside] / lengths[inside, None]
    smooth = 0.5 * (1 + np.cos(np.pi * scaled / REACH)) / scaled
    radial = smooth[:, None] * np.exp(-0.5 * ((scaled[:, None] - SHELLS) / SHELL_WIDTH) ** 2)
    weights = _element_steps(number, numbers[inside])
    angular = eval_legendre(np.arange(N_LEGENDRE)[:, None, None], np.clip(units @ units.T, -1.0, 1.0))
    density = np.einsum('jc,jn->jcn', weights, radial)
    power = np.einsum('jcn,ljk,kcn->cnl', density, angular, density, optimize=True)
    return (float(number), *(np.sqrt(np.sqrt(np.clip(power, 0.0, None))).ravel().tolist()))


def same_event(a: Sequence[float], b: Sequence[float]) -> bool:
    """Return whether two fingerprints belong to one event: centre of one element, |a - b| ≤ 0.11 of their mean norm.

    Measured on single MD snapshots (``benchmarks/halting/fingerprints.py``): the same atom at two times differs by
    0.04 in the median and 0.10 at most at 300 K, by 0.06 (90 %: 0.10) at half the melting point; the neighbour of a
    vacancy and a bulk atom by 0.25 and 0.16 in silicon, 0.17 and 0.13 in copper; a surface or one gold atom among
    twelve copper neighbours by 0.3 and more. A wrong answer on the hot side costs a halt more or fewer, no label.
    """
    if len(a) != len(b):
        raise ValueError(f'fingerprints have {len(a)} and {len(b)} numbers, expected two of one version')
    return event_distance(a, b) <= SAME_EVENT


def event_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Return how unlike two fingerprints are: 0 to 2, or 3 where the centres are of different elements."""
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return 3.0 if first[0] != second[0] else relative_distance(first[1:], second[1:])


def relative_distance(a: Array, b: Array) -> float:
    """Return 2|a - b| / (|a| + |b|), 0 for two isolated atoms."""
    norms = float(np.linalg.norm(a) + np.linalg.norm(b))
    return 2 * float(np.linalg.norm(a - b)) / norms if norms else 0.0


def _element_steps(centre: int, numbers: NDArray[np.int64]) -> Array:
    """Return (n, 3): one, and the steps in period and in place along the period from the element of the centre."""
    every = np.append(numbers, centre)
    period = np.searchsorted(_NOBLE_GASES, every, side='left')
    start, end = _NOBLE_GASES[period - 1], _NOBLE_GASES[period]
    place = np.stack([period / 7.0, (every - start) / (end - start)], axis=1)
    return np.column_stack([np.ones(len(numbers)), place[:-1] - place[-1]])
