"""Other compositions: atoms of a crystal replaced at random, and special quasirandom structures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.random import Generator
from numpy.typing import NDArray

from ..lattice import compact_supercell_of
from ..structure_types import STRUCTURE_TYPES
from .strained import apply_strain, random_strain

SQS_STEPS = 3000  # Monte-Carlo steps of icet's annealing a structure
SQS_CUTOFFS = (1.75, 1.25)  # of pairs and triplets, in units of the cube root of twice the volume per atom


class IcetMissing(ImportError):
    """Quasirandom structures were asked for where the program that makes them is not installed."""

    def __init__(self) -> None:
        super().__init__('n_sqs above 0 needs icet, which is not installed: pip install "aiida-pyacemaker[pools]"')


def make_substituted(
    atoms: Atoms, *, elements: Sequence[str], amplitudes: Sequence[float], count: int, rng: Generator
) -> list[Atoms]:
    """Return ``count`` copies in which a random number of atoms became another of ``elements``, so the stoichiometry.

    The volume follows the cubes of the covalent radii; standard deviations (Å) of ``amplitudes`` follow in turn.
    """
    substituted = []
    for index in range(count):
        copy = atoms.copy()
        sites = rng.permutation(len(copy))[: rng.integers(1, len(copy) + 1)]
        symbols = np.array(copy.get_chemical_symbols(), dtype=object)
        symbols[sites] = rng.choice(elements, size=len(sites))
        copy.set_chemical_symbols(list(symbols))
        copy = apply_strain(copy, np.eye(3) * (_volume_ratio(copy, atoms) ** (1 / 3) - 1.0))
        copy.positions += rng.normal(scale=amplitudes[index % len(amplitudes)], size=copy.positions.shape)
        substituted.append(copy)
    return substituted


def _volume_ratio(new: Atoms, old: Atoms) -> float:
    return float((covalent_radii[new.numbers] ** 3).sum() / (covalent_radii[old.numbers] ** 3).sum())


@dataclass(frozen=True, kw_only=True)
class Alloy:
    """A lattice to decorate: its type, volume per atom (Å³) and how many atoms of each element."""

    lattice: str
    volume: float
    counts: Mapping[str, int]


def nearby_compositions(composition: Mapping[str, float], *, n_atoms: int, step: float) -> list[dict[str, int]]:
    """Return numbers of atoms at the composition and at its neighbours, where ``step`` moves from one to another.

    composition: parts by element. Every element keeps at least one atom; equal rounded compositions are one.
    """
    symbols = sorted(composition)
    parts = np.array([composition[symbol] for symbol in symbols], dtype=float)
    target = parts / parts.sum()
    shifts = [np.zeros(len(symbols))]
    for giver, taker in np.ndindex(len(symbols), len(symbols)):
        if giver != taker:
            shift = np.zeros(len(symbols))
            shift[giver], shift[taker] = -step, step
            shifts.append(shift)
    found: dict[tuple[int, ...], dict[str, int]] = {}
    for shift in shifts:
        counts = _rounded(target + shift, n_atoms)
        if (counts > 0).all():
            found.setdefault(tuple(counts.tolist()), dict(zip(symbols, counts.tolist(), strict=True)))
    return list(found.values())


def _rounded(fractions: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """Return integers in the ratio of ``fractions`` that sum to ``total`` (largest remainders)."""
    exact = fractions * total
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind='stable')[: total - counts.sum()]] += 1
    return counts


def make_sqs(
    alloy: Alloy, *, count: int, amplitudes: Sequence[float], strain_max: float, rng: Generator
) -> list[Atoms]:
    """Return ``count`` special quasirandom structures of an alloy, pair and triplet correlations by icet.

    Each is annealed from its own seed. The first has the lattice's sites; the others are strained within
    ``±strain_max`` and displaced, the standard deviations (Å) of ``amplitudes`` in turn. Zunger et al., doi
    10.1103/PhysRevLett.65.353; Ångqvist et al., doi 10.1002/adts.201900015. Raise :class:`IcetMissing`.
    """
    try:
        from icet import ClusterSpace
        from icet.tools.structure_generation import generate_sqs_from_supercells
    except ImportError as error:
        raise IcetMissing from error
    primitive = lattice_of(alloy.lattice, alloy.volume, next(iter(alloy.counts)))
    n_atoms = sum(alloy.counts.values())
    supercell = compact_supercell_of(primitive, n_atoms)
    reach = (2.0 * alloy.volume) ** (1 / 3)
    space = ClusterSpace(primitive, [factor * reach for factor in SQS_CUTOFFS], sorted(alloy.counts))
    target = {symbol: number / n_atoms for symbol, number in alloy.counts.items()}
    structures = []
    for index in range(count):
        seed = int(rng.integers(2**31))
        made = generate_sqs_from_supercells(space, [supercell], target, n_steps=SQS_STEPS, random_seed=seed)
        atoms = Atoms(made.numbers, cell=made.cell, positions=made.positions, pbc=True)
        if index:
            atoms = apply_strain(atoms, random_strain(strain_max, rng))
            atoms.positions += rng.normal(scale=amplitudes[index % len(amplitudes)], size=atoms.positions.shape)
        structures.append(atoms)
    return structures


def lattice_of(name: str, volume: float, symbol: str) -> Atoms:
    """Return the primitive cell of a structure type of one element at ``volume`` (Å³ an atom)."""
    cell = STRUCTURE_TYPES[name].build([symbol])
    return apply_strain(cell, np.eye(3) * ((volume * len(cell) / cell.get_volume()) ** (1 / 3) - 1.0))
