"""How hot a system may be when nobody says: temperatures in units of the melting points of its elements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

COLDEST_K = 100.0  # gases melt so low that no atom would move at a fraction of it
UNKNOWN_K = 1000.0  # an element whose melting point nobody has measured

# K; the table of pymatgen (`Element.melting_point`, MIT licence), which the tests compare with where it is installed
MELTING_POINTS_K = {
    'H': 14.01, 'He': 0.95, 'Li': 453.69, 'Be': 1560, 'B': 2349, 'C': 3800, 'N': 63.05, 'O': 54.8, 'F': 53.53,
    'Ne': 24.56, 'Na': 370.87, 'Mg': 923, 'Al': 933.47, 'Si': 1687, 'P': 317.3, 'S': 388.36, 'Cl': 171.6, 'Ar': 83.8,
    'K': 336.53, 'Ca': 1115, 'Sc': 1814, 'Ti': 1941, 'V': 2183, 'Cr': 2180, 'Mn': 1519, 'Fe': 1811, 'Co': 1768,
    'Ni': 1728, 'Cu': 1357.77, 'Zn': 692.68, 'Ga': 302.91, 'Ge': 1211.4, 'As': 1090, 'Se': 494, 'Br': 265.8,
    'Kr': 115.79, 'Rb': 312.46, 'Sr': 1050, 'Y': 1799, 'Zr': 2128, 'Nb': 2750, 'Mo': 2896, 'Tc': 2430, 'Ru': 2607,
    'Rh': 2237, 'Pd': 1828.05, 'Ag': 1234.93, 'Cd': 594.22, 'In': 429.75, 'Sn': 505.08, 'Sb': 903.78, 'Te': 722.66,
    'I': 386.85, 'Xe': 161.4, 'Cs': 301.59, 'Ba': 1000, 'La': 1193, 'Ce': 1068, 'Pr': 1208, 'Nd': 1297, 'Pm': 1373,
    'Sm': 1345, 'Eu': 1099, 'Gd': 1585, 'Tb': 1629, 'Dy': 1680, 'Ho': 1734, 'Er': 1802, 'Tm': 1818, 'Yb': 1097,
    'Lu': 1925, 'Hf': 2506, 'Ta': 3290, 'W': 3695, 'Re': 3459, 'Os': 3306, 'Ir': 2739, 'Pt': 2041.4, 'Au': 1337.33,
    'Hg': 234.32, 'Tl': 577, 'Pb': 600.61, 'Bi': 544.4, 'Po': 527, 'At': 575, 'Rn': 202, 'Fr': 300, 'Ra': 973,
    'Ac': 1323, 'Th': 2115, 'Pa': 1841, 'U': 1405.3, 'Np': 910, 'Pu': 912.5, 'Am': 1449, 'Cm': 1613, 'Bk': 1259,
    'Cf': 1173, 'Es': 1133, 'Fm': 1800, 'Md': 1100, 'No': 1100, 'Lr': 1900,
}


def melting_point(symbols: Iterable[str]) -> float:
    """Return the highest melting point (K) of the elements: an estimate of that of what they are made to.

    Right within some 10 % for most alloys and many oxides of transition metals; far too low for MgO, GaAs or NaCl,
    whose bonds none of their elements has: give temperatures for those.
    """
    return max(MELTING_POINTS_K.get(symbol, UNKNOWN_K) for symbol in symbols)


def temperatures(symbols: Iterable[str], *, given: Sequence[float], fractions: Sequence[float]) -> tuple[float, ...]:
    """Return the temperatures (K) that are ``given``, else ``fractions`` of the melting point, ``COLDEST_K`` at least.

    They are rounded to 10 K, for they name runs.
    """
    if given:
        return tuple(given)
    melting = melting_point(symbols)
    return tuple(max(COLDEST_K, round(fraction * melting, -1)) for fraction in fractions)
