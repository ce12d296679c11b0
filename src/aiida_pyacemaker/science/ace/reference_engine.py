"""The oracle of the fast engine: the expansion in plain NumPy, every m-sum written out, no work saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from math import factorial
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.neighborlist import neighbor_list
from numpy.polynomial import legendre
from numpy.typing import NDArray

from .model.core_repulsion import core_switch, nearest_switch, pair_core_density
from .model.couplings import coupling
from .model.radial import Bond, radial_functions

if TYPE_CHECKING:
    from ase import Atoms

    from .potential import AcePotential, BasisFunction

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Complex = NDArray[np.complex128]
Key = tuple[int, int, int, int]
Key1 = tuple[int, int]
RadialFunction = Callable[[Array, Bond], tuple[Array, Array]]


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceEvaluation:
    """
    Result of `evaluate_reference`.

    energies: (n,) eV, reference energies included; forces: (n, 3) eV/Å; stress: (3, 3) eV/Å³, positive in tension
    as in ASE, NaN unless periodic in three directions; projections: list of (n_functions[species],).
    """

    energies: Array
    forces: Array
    stress: Array
    projections: list[Array]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Shell:
    """Neighbours of one species of all centres of one: row of the centre, atom, distance, unit vector, bond."""

    rows: Index
    atoms: Index
    r: Array
    unit: Array
    bond: Bond
    elements: tuple[str, str]
    spacing: float


def evaluate_reference(potential: AcePotential, atoms: Atoms, *, tabulated: bool = True) -> ReferenceEvaluation:
    """
    Evaluate any potential: E_i = E0 + F(ρ_i), fading into the core repulsion where there is one.

    ``tabulated``: interpolate radial functions and core density as LAMMPS does, else take them exactly. `ValueError`
    for an unknown element.
    """
    species = potential.species_index(atoms.get_chemical_symbols())
    forces, strain = np.zeros((len(atoms), 3)), np.zeros((3, 3))
    energies = np.array([potential.reference_energies[potential.elements[s]] for s in species])
    projections = [np.zeros(0)] * len(atoms)
    pairs = neighbor_list('ijD', atoms, potential.cutoff)
    for element in np.unique(species):
        centres = np.flatnonzero(species == element)
        shells = _shells(potential, element, centres, species, pairs)
        found, rows, slopes = _evaluate_element(potential, element, len(centres), shells, tabulated)
        energies[centres] += found
        for centre, row in zip(centres, rows, strict=True):
            projections[centre] = row
        for shell, slope in zip(shells, slopes, strict=True):
            np.add.at(forces, shell.atoms, -slope)
            np.add.at(forces, centres[shell.rows], slope)
            strain += np.einsum('p,pa,pb->ab', shell.r, shell.unit, slope)
    stress = 0.5 * (strain + strain.T) / atoms.get_volume() if atoms.pbc.all() else np.full((3, 3), np.nan)
    return ReferenceEvaluation(energies=energies, forces=forces, stress=stress, projections=projections)


def _shells(
    potential: AcePotential, element: int, centres: Index, species: Index, pairs: tuple[Index, Index, Array]
) -> list[_Shell]:
    """Sort the pairs of the centres by the species of the neighbour, within the cut-off of each bond."""
    first, second, vectors = pairs
    distances = np.linalg.norm(vectors, axis=1)
    shells = []
    for mu, name in enumerate(potential.elements):
        bond = potential.bonds[element, mu]
        kept = (species[first] == element) & (species[second] == mu) & (distances < bond.cutoff)
        shells.append(
            _Shell(
                rows=np.searchsorted(centres, first[kept]),
                atoms=second[kept],
                r=distances[kept],
                unit=vectors[kept] / distances[kept, None],
                bond=bond,
                elements=(potential.elements[element], name),
                spacing=potential.bin_width,
            )
        )
    return shells


def _evaluate_element(
    potential: AcePotential, element: int, count: int, shells: list[_Shell], tabulated: bool
) -> tuple[Array, Array, list[Array]]:
    """Return energies (n,), projections (n, P) and, a shell, the slopes of the energy by its vectors, (pairs, 3)."""
    functions, embedding = potential.functions[element], potential.embeddings[element]
    start = sum(potential.n_functions[:element])
    coefficients = potential.coefficients[start : start + len(functions)]
    radials = [_values(radial_functions, shell, tabulated) for shell in shells]
    cores = [_values(partial(_core, elements=shell.elements), shell, tabulated) for shell in shells]
    base = _atomic_base(shells, radials, count)
    projections = np.array([_project(f, base, count) for f in functions]).reshape(-1, count).T
    embedded, d_embedded = embedding.evaluate(projections @ coefficients)
    core = sum(
        (_sums(shell, value[0], count) for shell, (value, _) in zip(shells, cores, strict=True)), np.zeros(count)
    )
    if shells[0].bond.inner_cutoff_type == 'zbl':
        kept, turns = _fade_by_nearest(shells, embedded - core)
        energies, d_core = embedded * kept + core * (1.0 - kept), 1.0 - kept
    else:
        kept, slope = core_switch(core, embedding)
        turns = [np.zeros_like(shell.r) for shell in shells]
        energies, d_core = embedded * kept + core, 1.0 + embedded * slope
    adjoint = _adjoint(functions, base, (d_embedded * kept[:, None]) @ coefficients.T)
    slopes = []
    for mu, shell in enumerate(shells):
        along = d_core[shell.rows] * cores[mu][1][0] + turns[mu]
        slopes.append(along[:, None] * shell.unit + _expansion_slopes(mu, shell, radials[mu], adjoint))
    return energies, projections, slopes


def _sums(shell: _Shell, values: NDArray[np.generic], count: int) -> Any:
    """Sum a value of every pair over the pairs of each centre, (count,)."""
    total = np.zeros(count, dtype=values.dtype)
    np.add.at(total, shell.rows, values)
    return total


def _core(r: Array, bond: Bond, *, elements: tuple[str, str]) -> tuple[Array, Array]:
    value, slope = pair_core_density(r, bond, elements)
    return value[None], slope[None]


def _values(function: RadialFunction, shell: _Shell, tabulated: bool) -> tuple[Array, Array]:
    """Return values and slopes, (functions, pairs), of a function of distance; see `interpolated`."""
    return interpolated(function, shell.r, shell.bond, shell.spacing) if tabulated else function(shell.r, shell.bond)


def interpolated(function: RadialFunction, r: Array, bond: Bond, spacing: float) -> tuple[Array, Array]:
    """
    Return a function and its slope from cubic-Hermite nodes as LAMMPS has them.

    The nodes divide the cut-off into equal bins of at least ``spacing``; the function is 0 at the last one, so that
    a jump at the cut-off becomes a steep slope.
    """
    n_bins = int(bond.cutoff / spacing)
    width = bond.cutoff / n_bins
    low = np.floor(r / width)
    t = r / width - low
    (f0, d0), (f1, d1) = function(low * width, bond), function((low + 1) * width, bond)
    f1, d1 = (np.where(low + 1 >= n_bins, 0.0, node) for node in (f1, d1))
    d0, d1 = d0 * width, d1 * width
    c2, c3 = 3.0 * (f1 - f0) - d1 - 2.0 * d0, -2.0 * (f1 - f0) + d1 + d0
    value, slope = f0 + t * (d0 + t * (c2 + t * c3)), (d0 + t * (2.0 * c2 + 3.0 * t * c3)) / width
    return np.where(low < n_bins, value, 0.0), np.where(low < n_bins, slope, 0.0)


def _fade_by_nearest(shells: list[_Shell], excess: Array) -> tuple[Array, list[Array]]:
    """Return what is kept of each centre, (n,), and what ``excess`` × its slope adds to the slopes of each shell."""
    kept, turns = np.ones(len(excess)), [np.zeros_like(shell.r) for shell in shells]
    for row in range(len(excess)):
        pairs = [(mu, pair) for mu, shell in enumerate(shells) for pair in np.flatnonzero(shell.rows == row)]
        r = np.array([shells[mu].r[pair] for mu, pair in pairs])
        nearest, kept[row], slope = nearest_switch(r, [shells[mu].bond for mu, _ in pairs])
        if nearest >= 0:
            mu, pair = pairs[nearest]
            turns[mu][pair] = excess[row] * slope
    return kept, turns


@cache
def _legendre_derivative(ell: int, order: int) -> Array:
    """Return the Legendre series of d^order P_l/dz^order."""
    return np.asarray(legendre.legder(np.eye(ell + 1)[ell], order))


def spherical_harmonics(ell: int, m: int, unit: Array) -> tuple[Complex, Complex]:
    """
    Return √(4π) Y_lm of unit vectors (n, 3), (n,), and its gradient on the unit sphere, (n, 3); any m.

    Y_lm = (-1)^m √((2l+1)/(4π) (l-m)!/(l+m)!) d^m P_l/dz^m (x + iy)^m for m ≥ 0; Y_l,-m = (-1)^m conj Y_lm.
    """
    if m < 0:
        value, gradient = spherical_harmonics(ell, -m, unit)
        return (-1) ** m * value.conj(), (-1) ** m * gradient.conj()
    norm = (-1) ** m * np.sqrt((2 * ell + 1) * factorial(ell - m) / factorial(ell + m))
    z, circle = unit[:, 2], unit[:, 0] + 1j * unit[:, 1]
    p, dp = (legendre.legval(z, _legendre_derivative(ell, order)) for order in (m, m + 1))
    d_circle = m * circle ** max(m - 1, 0)
    free = norm * np.stack([p * d_circle, 1j * p * d_circle, dp * circle**m], axis=1)
    radial = np.einsum('pa,pa->p', free, unit)
    return norm * p * circle**m, free - radial[:, None] * unit


def _atomic_base(shells: list[_Shell], radials: list[tuple[Array, Array]], count: int) -> dict[Key | Key1, Any]:
    """Return A_{μnlm} = Σ_j R_nl √(4π) Y_lm, complex, and for rank one A_{μk} = Σ_j g_k, real; (count,) each."""
    base: dict[Key | Key1, Any] = {}
    for mu, (shell, (values, _)) in enumerate(zip(shells, radials, strict=True)):
        for k in range(shell.bond.n_base):
            base[mu, k + 1] = _sums(shell, values[k], count)
        for ell, m, n, row in _keys(shell.bond):
            harmonic, _ = spherical_harmonics(ell, m, shell.unit)
            base[mu, n, ell, m] = _sums(shell, values[row] * harmonic, count)
    return base


def _keys(bond: Bond) -> list[tuple[int, int, int, int]]:
    """Return l, m, n (from 1) and the row of R_nl in `radial_functions`."""
    rows = [(ell, n) for ell in range(bond.l_max + 1) for n in range(bond.n_max)]
    return [(ell, m, n + 1, bond.n_base + i) for i, (ell, n) in enumerate(rows) for m in range(-ell, ell + 1)]


def _project(f: BasisFunction, base: dict[Key | Key1, Any], count: int) -> Array:
    """Return B = Re Σ_m C_m Π_t A_t of one function, (count,)."""
    if len(f.mus) == 1:
        return np.asarray(base[f.mus[0], f.ns[0]])
    total = np.zeros(count)
    for ms, weight in coupling(f.ls, f.lint):
        total += weight * np.prod([base[key] for key in zip(f.mus, f.ns, f.ls, ms, strict=True)], axis=0).real
    return total


def _adjoint(
    functions: tuple[BasisFunction, ...], base: dict[Key | Key1, Any], weights: Array
) -> dict[Key | Key1, Any]:
    """Return w with dE = Σ Re(w dA), for ``weights`` dE/dB (n, P)."""
    adjoint: dict[Key | Key1, Any] = {}
    for f, weight in zip(functions, weights.T, strict=True):
        if len(f.mus) == 1:
            adjoint[f.mus[0], f.ns[0]] = adjoint.get((f.mus[0], f.ns[0]), 0.0) + weight
            continue
        for ms, factor in coupling(f.ls, f.lint):
            keys = list(zip(f.mus, f.ns, f.ls, ms, strict=True))
            for t, key in enumerate(keys):
                others = np.prod([base[other] for other in keys[:t] + keys[t + 1 :]], axis=0)
                adjoint[key] = adjoint.get(key, 0.0) + weight * factor * others
    return adjoint


def _expansion_slopes(
    mu: int, shell: _Shell, radial: tuple[Array, Array], adjoint: dict[Key | Key1, Any]
) -> NDArray[np.float64]:
    """Return Σ Re(w dA/dr_vector) of each pair, (pairs, 3): R' Y along the pair and R ∇Y/r across it."""
    values, slopes = radial
    total = np.zeros((len(shell.r), 3))
    for k in range(shell.bond.n_base):
        if (mu, k + 1) in adjoint:
            total += (adjoint[mu, k + 1][shell.rows] * slopes[k])[:, None] * shell.unit
    for ell, m, n, row in _keys(shell.bond):
        if (mu, n, ell, m) in adjoint:
            harmonic, gradient = spherical_harmonics(ell, m, shell.unit)
            weight = adjoint[mu, n, ell, m][shell.rows]
            total += (weight * harmonic).real[:, None] * slopes[row][:, None] * shell.unit
            total += (weight[:, None] * gradient).real * (values[row] / shell.r)[:, None]
    return total
