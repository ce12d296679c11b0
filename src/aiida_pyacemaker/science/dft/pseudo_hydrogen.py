"""Pseudo-hydrogens: caps of fractional charge that put exactly two electrons into a cut bond."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

# functional as our headers call it -> as `ld1.x` does
LD1_FUNCTIONALS = {'LDA': 'PZ', 'PBE': 'PBE', 'PBESOL': 'PBESOL', 'BLYP': 'BLYP'}
BOND_ELECTRONS = 2.0
CHARGE_RANGE = (0.1, 1.9)  # e: below, the atom binds nothing; 2 would be helium, which closes no bond
RADIUS_RANGE_bohr = (0.5, 2.0)
UPF_FILE = 'H.UPF'
CAP_NAME = re.compile(r'H([1-9]\d?)')  # `pw.x` takes names of three characters
# a row of the table of the test, which alone has this heading: the one of the full atom has the same shape
LEVELS = re.compile(r'e PS \(Ry\).*\n\s*1 0\s+1S\s+1\(\s*[\d.]+\)\s+(-?[\d.]+)\s+(-?[\d.]+)')


def cap_charge(valence: float, coordination: int) -> float:
    """Return the charge (e) of the hydrogen that closes a bond of an atom.

    ``q = 2 - valence / coordination``: in the crystal the atom brings ``valence / coordination`` electrons to each of
    its bonds, the cap brings what is missing to two. 1 for silicon, 1.25 for a group-III and 0.75 for a group-V atom in
    zinc blende, 1.5 and 0.5 for II-VI. Huang, Lindgren, Wang, J. Phys. Chem. B 109, 19188 (2005).
    """
    if coordination < 1 or not 0 < valence < BOND_ELECTRONS * coordination:
        raise ValueError(
            f'valence {valence:g} over {coordination} bonds leaves no cap, '
            f'expected more than 0 and fewer than 2 electrons a bond'
        )
    return BOND_ELECTRONS - valence / coordination


def cap_hosts(atoms: Atoms, is_cap: ArrayLike) -> NDArray[np.int64]:
    """Return (N,) the atomic number of the nearest atom that is no cap, for each hydrogen cap; 0 for all others.

    is_cap: (N,) bool.
    """
    caps = np.asarray(is_cap, dtype=bool)
    hosts = np.zeros(len(atoms), dtype=np.int64)
    others = np.flatnonzero(~caps)
    for cap in np.flatnonzero(caps & (atoms.numbers == 1)) if len(others) else ():
        hosts[cap] = atoms.numbers[others[np.argmin(atoms.get_distances(cap, others, mic=True))]]
    return hosts


def pseudo_hosts(names: Iterable[str]) -> tuple[int, ...]:
    """Return the atomic numbers of hosts for which ``names`` of pseudopotentials hold a cap, ``H<number>``."""
    return tuple(sorted(int(found[1]) for name in names if (found := CAP_NAME.fullmatch(name))))


def ld1_input(charge: float, functional: str, core_radius_bohr: float) -> str:
    """Return the input of ``ld1.x`` for a norm-conserving, local pseudopotential of a hydrogen of nuclear ``charge``.

    The neutral atom 1s^charge is the reference; the only channel is the local one. The name of the element is left to
    the program: it follows the nearest whole charge, and a name that does not is refused.
    """
    return (
        f" &input\n  title='pseudo-hydrogen of charge {charge:g}', prefix='H', zed={charge!r}, config='1s{charge!r}',\n"
        f"  iswitch=3, rel=0, beta=0.3, dft='{LD1_FUNCTIONALS[functional]}'\n /\n"
        f" &inputp\n  pseudotype=1, tm=.true., lloc=0, zval={charge!r}, file_pseudopw='{UPF_FILE}',\n"
        "  author='aiida-pyacemaker'\n /\n"
        f'1\n1S 1 0 {charge!r} 0.0 {core_radius_bohr!r} {core_radius_bohr!r}\n'
    )


def read_levels(text: str) -> tuple[float, float] | None:
    """Return the 1s level (Ry) of the full and of the pseudo-atom as ``ld1.x`` prints them; ``None`` without them."""
    found = LEVELS.search(text)
    return (float(found[1]), float(found[2])) if found else None


def name_element(upf: str) -> str:
    """Return a UPF file whose header names hydrogen, whatever the charge made ``ld1.x`` call it (He, XX)."""
    renamed, count = re.subn(r'(<PP_HEADER\b[^>]*?\belement=")[^"]*(")', r'\g<1>H \g<2>', upf, count=1)
    if not count:
        raise ValueError('no PP_HEADER with an element, expected UPF version 2')
    return re.sub(r'^(\s*Element:\s*)\S+', r'\g<1>H', renamed, count=1, flags=re.MULTILINE)
