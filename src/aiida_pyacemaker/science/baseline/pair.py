"""The baseline pair potential as a frozen value: energies, forces, stress, and its form as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import ArrayLike, NDArray

from ..neighbours import Pairs, pairs_of
from .functions import QUADRATURE, switch, wall, zbl

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PairTerm:
    """One element pair: ``form`` is 'LJ' (wall joined to ZBL) or 'ZBL' (switched off); lengths in Å, depth in eV.

    inner, outer: LJ: forces go over from ZBL to the wall between them; ZBL: switched off from ``outer`` to ``end``;
    end: exactly zero from here on; depth: of the Lennard-Jones wall; note: why a
    pair has another form than was asked for, else ''.
    """

    form: str
    charges: tuple[int, int]
    inner: float
    outer: float
    end: float
    depth: float = 0.0
    note: str = ''

    def evaluate(self, distance: ArrayLike) -> tuple[Array, Array]:
        """Return (energy (n,) eV, derivative (n,) eV/Å) at distances (n,) Å.

        LJ below ``outer`` blends derivatives, V' = s V'_ZBL + (1 - s) V'_wall, which are both negative, so the sum
        rises monotonically inwards; V is its integral, hence ZBL plus a constant below ``inner``.
        """
        r = np.asarray(distance, dtype=np.float64)
        if self.form == 'ZBL':
            energy, slope = zbl(r, self.charges)
            step, step_slope = switch(r, self.outer, self.end)
            return energy * step, slope * step + energy * step_slope
        energy, slope = (self.depth * part for part in wall(r, self.end, self.inner))
        close = r < self.outer
        energy[close], slope[close] = self._joined(r[close])
        return energy, slope

    def _slope(self, distance: Array) -> Array:
        share = switch(distance, self.inner, self.outer)[0]
        return (
            share * zbl(distance, self.charges)[1]
            + (1.0 - share) * self.depth * wall(distance, self.end, self.inner)[1]
        )

    def _joined(self, distance: Array) -> tuple[Array, Array]:
        nodes, weights = QUADRATURE
        lower = np.maximum(distance, self.inner)
        half = 0.5 * (self.outer - lower)
        points = lower[:, None] + half[:, None] * (1.0 + nodes)
        rise = half * (self._slope(points) @ weights)
        edge = self.depth * wall(np.array([self.outer]), self.end, self.inner)[0][0]
        core = zbl(distance, self.charges)[0] - zbl(lower, self.charges)[0]
        return edge - rise + core, self._slope(distance)


@dataclass(frozen=True, kw_only=True)
class PairBaseline:
    """Repulsive pair potentials by element pair, key 'Al-Ni' with the elements in alphabetical order."""

    kind: str
    pairs: Mapping[str, PairTerm]

    @property
    def cutoff(self) -> float:
        """Largest distance with a value other than zero, Å."""
        return max((term.end for term in self.pairs.values()), default=0.0)

    @property
    def digest(self) -> str:
        """Return the sha256 of :meth:`to_json`."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def term(self, element_a: str, element_b: str) -> PairTerm:
        """Return the term of a pair; ``ValueError`` names it and the allowed ones."""
        key = '-'.join(sorted((element_a, element_b)))
        if key not in self.pairs:
            raise ValueError(f'baseline has no pair {key}, known: {", ".join(self.pairs)}: fit it for these elements')
        return self.pairs[key]

    def pair(self, element_a: str, element_b: str, distance: ArrayLike) -> tuple[Array, Array]:
        """Return (energy (n,) eV, derivative (n,) eV/Å) of a pair at distances (n,) Å."""
        return self.term(element_a, element_b).evaluate(np.atleast_1d(distance))

    def evaluate(self, atoms: Atoms, pairs: Pairs | None = None) -> tuple[Array, Array, Array]:
        """Return energies (n,) eV (half of each bond), forces (n, 3) eV/Å, stress (6,) eV/Å³, Voigt, ASE's sign.

        pairs: all pairs below :attr:`cutoff` or more, of a list that is kept; found anew where not given. The stress is
        NaN without a cell of three dimensions. σ = (1/2V) Σ_ij V'(r) r⊗r / r.
        """
        first, _, vectors, bond, slope = self.bonds(atoms, pairs)
        energies = np.asarray(0.5 * np.bincount(first, weights=bond, minlength=len(atoms)), dtype=np.float64)
        pulls = (slope / np.linalg.norm(vectors, axis=1))[:, None] * vectors
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, first, pulls)
        if not atoms.cell.rank == 3:
            return energies, forces, np.full(6, np.nan)
        tensor = np.asarray(0.5 * vectors.T @ pulls / atoms.get_volume(), dtype=np.float64)
        return energies, forces, tensor[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]

    def bonds(
        self, atoms: Atoms, pairs: Pairs | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, Array, Array]:
        """Return i, j (m,), vectors i→j (m, 3) Å, energies (m,) eV and derivatives (m,) eV/Å of all directed bonds."""
        symbols = sorted(set(atoms.get_chemical_symbols()))
        if not self.cutoff or not len(atoms):
            empty = np.zeros(0)
            return empty.astype(np.int64), empty.astype(np.int64), empty.reshape(0, 3), empty, empty
        if pairs is None:
            pairs = pairs_of(atoms.positions, np.asarray(atoms.cell), atoms.pbc, self.cutoff)
        distance = np.linalg.norm(pairs.vectors, axis=1)
        near = distance < self.cutoff
        first, second, vectors, distance = pairs.first[near], pairs.second[near], pairs.vectors[near], distance[near]
        energy, slope = np.zeros(len(distance)), np.zeros(len(distance))
        numbers = atoms.numbers
        for index, element in enumerate(symbols):
            for other in symbols[index:]:
                a, b = atomic_numbers[element], atomic_numbers[other]
                chosen = (numbers[first] == a) & (numbers[second] == b) | (numbers[first] == b) & (numbers[second] == a)
                energy[chosen], slope[chosen] = self.pair(element, other, distance[chosen])
        return first, second, vectors, energy, slope

    def lammps_pair_coeffs(self, elements: Sequence[str], table: str = 'baseline.table') -> tuple[str, ...]:
        """Return the ``pair_coeff`` lines of ``hybrid/overlay ... table spline N`` for atom types in this order."""
        lines = []
        for i, first in enumerate(elements, start=1):
            for j, second in enumerate(elements[i - 1 :], start=i):
                self.term(first, second)
                lines.append(f'pair_coeff {i} {j} table {table} {"_".join(sorted((first, second)))}')
        return tuple(lines)

    def write_lammps_table(self, path: str | Path) -> None:
        """Write the table file of ``pair_style table spline TABLE_POINTS``."""
        from .table import write_lammps_table

        write_lammps_table(self, path)

    def to_json(self) -> str:
        """Return all parameters as JSON text."""
        return json.dumps(
            {'kind': self.kind, 'pairs': {key: asdict(term) for key, term in self.pairs.items()}}, indent=1
        )

    @classmethod
    def from_json(cls, source: str | Path) -> PairBaseline:
        """Read what :meth:`to_json` gave, as text (starting with '{') or from the path of a file."""
        text = str(source)
        text = text if text.lstrip().startswith('{') else Path(source).read_text()
        try:
            data: dict[str, Any] = json.loads(text)
            pairs = {key: PairTerm(**{**row, 'charges': tuple(row['charges'])}) for key, row in data['pairs'].items()}
            return cls(kind=data['kind'], pairs=pairs)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f'{str(source)[:60]!r} is not a baseline: {error}; expected keys kind and pairs'
            ) from error
