"""What a pool takes for granted where nobody says: radii, melting points, temperatures, the crystals it starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ase.data import atomic_numbers, covalent_radii
from ase.formula import Formula

from ..config import PoolConfig
from .melting import MELTING_POINTS_K, melting_point, temperatures


def infer_report(pool: PoolConfig, prototypes: Sequence[Mapping[str, Any]], elements: Sequence[str]) -> dict[str, Any]:
    """Return radii (Å), melting points and temperatures (K) of the elements, and the prototypes, lowest one named.

    prototypes: what :func:`.describe_prototype` says of each, in the order of the frames. ``ground_state`` is the row
    of the one with the lowest formation energy among those of the most elements, ``None`` without any.
    """
    rows = formation_energies(prototypes)
    most = max((len(Formula(row['formula']).count()) for row in rows), default=0)
    candidates = [index for index, row in enumerate(rows) if len(Formula(row['formula']).count()) == most]

    def height(index: int) -> tuple[bool, float]:
        energy = rows[index]['formation_energy_eV_per_atom']
        return energy is None, rows[index]['energy_eV_per_atom'] if energy is None else energy

    def hot(symbol: str) -> list[float]:
        return list(temperatures([symbol], given=pool.md_temperatures_K, fractions=pool.md_melting_fractions))

    return {
        'covalent_radii_A': {symbol: float(covalent_radii[atomic_numbers[symbol]]) for symbol in elements},
        'melting_points_K': {symbol: MELTING_POINTS_K.get(symbol) for symbol in elements},
        'md_temperatures_K': {symbol: hot(symbol) for symbol in elements},
        'melt_temperatures_K': {
            symbol: pool.melt_temperature_K or pool.melt_melting_fraction * melting_point([symbol])
            for symbol in elements
        },
        'prototypes': rows,
        'ground_state': min(candidates, key=height, default=None),
    }


def formation_energies(prototypes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with ``formation_energy_eV_per_atom``, relative to the lowest crystals of the elements.

    ``None`` where an element has no crystal of its own among them.
    """
    lowest: dict[str, float] = {}
    for row in prototypes:
        count = Formula(row['formula']).count()
        if len(count) == 1:
            symbol = next(iter(count))
            lowest[symbol] = min(lowest.get(symbol, float('inf')), row['energy_eV_per_atom'])
    rows = []
    for row in prototypes:
        count = Formula(row['formula']).count()
        known = all(symbol in lowest for symbol in count)
        apart = sum(lowest.get(symbol, 0.0) * number for symbol, number in count.items()) / sum(count.values())
        rows.append({**row, 'formation_energy_eV_per_atom': row['energy_eV_per_atom'] - apart if known else None})
    return rows
