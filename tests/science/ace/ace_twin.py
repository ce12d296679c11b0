"""Scalar NumPy twin of the ACE engine: the formulas as in the literature, every m-sum written out, nothing shared."""

from functools import cache
from itertools import product

import numpy as np
from ase.neighborlist import neighbor_list
from scipy.special import eval_chebyt, sph_harm_y, spherical_jn


@cache
def clebsch_gordan(l1, l2, l3):
    """Return {(m1, m2): ⟨l1 m1 l2 m2|l3 m1+m2⟩} from ladder operators: a null vector, then lowered step by step."""
    down1, down2 = ladder(l1), ladder(l2)
    lower = np.kron(down1, np.eye(2 * l2 + 1)) + np.kron(np.eye(2 * l1 + 1), down2)
    ms = [(m1, m2) for m1 in range(l1, -l1 - 1, -1) for m2 in range(l2, -l2 - 1, -1)]
    top = [index for index, (m1, m2) in enumerate(ms) if m1 + m2 == l3]
    _, _, rows = np.linalg.svd(lower.T[:, top])
    state = np.zeros(len(ms))
    state[top] = rows[-1]
    state *= np.sign(state[ms.index((l1, l3 - l1))])
    table = {}
    for m3 in range(l3, -l3 - 1, -1):
        table.update({pair: value for pair, value in zip(ms, state, strict=True) if sum(pair) == m3})
        state = lower @ state / np.sqrt(max((l3 + m3) * (l3 - m3 + 1), 1))
    return table


def ladder(ell):
    """J- in the basis m = l, l-1, ..."""
    m = np.arange(ell, -ell, -1)
    return np.diag(np.sqrt((ell + m) * (ell - m + 1)), -1)


def invariant(ls, lint, ms):
    """Coefficient of one m-tuple, by the tree (l1 l2)→L1, (l3 l4)→L2, (L1 L2)→L3, (L3 l5)→0."""
    if len(ls) == 1:
        return 1.0

    def couple(l1, l2, l3, m1, m2):
        return clebsch_gordan(l1, l2, l3).get((m1, m2), 0.0)

    if len(ls) == 2:
        return couple(*ls, 0, *ms)
    if len(ls) == 3:
        return couple(ls[0], ls[1], lint[0], ms[0], ms[1]) * couple(lint[0], ls[2], 0, ms[0] + ms[1], ms[2])
    first, second = ms[0] + ms[1], ms[2] + ms[3]
    value = couple(ls[0], ls[1], lint[0], ms[0], ms[1]) * couple(ls[2], ls[3], lint[1], ms[2], ms[3])
    if len(ls) == 4:
        return value * couple(lint[0], lint[1], 0, first, second)
    value *= couple(lint[0], lint[1], lint[2], first, second)
    return value * couple(lint[2], ls[4], 0, first + second, ms[4])


def base_function(k, r, bond):
    """g_k(r), k from 1."""
    rc = bond.cutoff
    if bond.base == 'SBessel':
        value = simplified_bessel(k - 1, r, rc)
    elif bond.base == 'ChebPow':
        value = 0.5 - 0.5 * eval_chebyt(k, 1.0 - 2.0 * (1.0 - r / rc) ** bond.parameters[0])
    elif bond.base == 'ChebLinear':
        value = 0.5 - 0.5 * eval_chebyt(k, 1.0 - r / rc)
    else:
        decay = bond.parameters[0]
        x = 1.0 - 2.0 * (np.exp(-decay * r / rc) - np.exp(-decay)) / (1.0 - np.exp(-decay))
        value = (1.0 if k == 1 else 0.5 - 0.5 * eval_chebyt(k - 1, x)) * 0.5 * (1.0 + np.cos(np.pi * r / rc))
        if r > rc - bond.cutoff_width:
            value *= 0.5 * (1.0 + np.cos(np.pi * (r - rc + bond.cutoff_width) / bond.cutoff_width))
    if bond.inner_cutoff > 0.0 and r < bond.inner_cutoff:
        x = 2.0 * (r - bond.inner_cutoff) / bond.inner_width + 1.0
        value *= 0.0 if x <= -1.0 else 0.5 + 15.0 / 16.0 * (x - 2.0 * x**3 / 3.0 + x**5 / 5.0)
    return value


def simplified_bessel(n, r, rc):
    """Kocer's recursion, with sin(x)/x as the spherical Bessel function j0."""

    def f(n):
        norm = (-1) ** n * np.sqrt(2.0) * np.pi / rc**1.5 * (n + 1) * (n + 2) / np.sqrt((n + 1) ** 2 + (n + 2) ** 2)
        return norm * (spherical_jn(0, (n + 1) * np.pi * r / rc) + spherical_jn(0, (n + 2) * np.pi * r / rc))

    def e(n):
        return n**2 * (n + 2) ** 2 / (4 * (n + 1) ** 4 + 1)

    d = [1.0]
    g = [f(0)]
    for k in range(1, n + 1):
        d.append(1.0 - e(k) / d[k - 1])
        g.append((f(k) + np.sqrt(e(k) / d[k - 1]) * g[k - 1]) / np.sqrt(d[k]))
    return g[n]


def atomic_base(potential, species, centre, neighbours):
    """Return {(μ, n, l, m): A} and {(μ, k): Σ g_k} of one centre; neighbours are (index, vector)."""
    many, single = {}, {}
    for j, vector in neighbours:
        mu = species[j]
        bond = potential.bonds[species[centre], mu]
        r = np.linalg.norm(vector)
        if r >= bond.cutoff:
            continue
        g = [base_function(k + 1, r, bond) for k in range(bond.n_base)]
        theta, phi = np.arccos(np.clip(vector[2] / r, -1, 1)), np.arctan2(vector[1], vector[0])
        for k, value in enumerate(g):
            single[mu, k + 1] = single.get((mu, k + 1), 0.0) + value
        for n, ell in product(range(bond.n_max), range(bond.l_max + 1)):
            radial = float(np.dot(bond.coefficients[n, ell], g))
            for m in range(-ell, ell + 1):
                key = (mu, n + 1, ell, m)
                value = np.sqrt(4 * np.pi) * radial * sph_harm_y(ell, m, theta, phi)
                many[key] = many.get(key, 0.0) + value
    return many, single


def environments(potential, atoms):
    """Yield (species of the centre, A, rank-one sums) of every atom."""
    species = [potential.elements.index(symbol) for symbol in atoms.get_chemical_symbols()]
    i, j, vectors = neighbor_list('ijD', atoms, potential.cutoff)
    for centre in range(len(atoms)):
        neighbours = [(b, v) for a, b, v in zip(i, j, vectors, strict=True) if a == centre]
        yield (species[centre], *atomic_base(potential, species, centre, neighbours))


def projections(potential, atoms):
    """Return B of every atom: Re Σ_m C ΠA over all m-tuples."""
    rows = []
    for element, many, single in environments(potential, atoms):
        row = []
        for f in potential.functions[element]:
            if len(f.mus) == 1:
                row.append(single.get((f.mus[0], f.ns[0]), 0.0))
                continue
            total = 0.0
            for ms in product(*(range(-ell, ell + 1) for ell in f.ls)):
                if sum(ms) == 0 and (weight := invariant(f.ls, f.lint, ms)) != 0.0:
                    keys = zip(f.mus, f.ns, f.ls, ms, strict=True)
                    total += weight * np.prod([many.get(key, 0.0) for key in keys])
            row.append(np.real(total))
        rows.append(np.array(row))
    return rows


def ctilde_energies(document, potential, atoms):
    """Return the energies (eV) a .yace document gives: Re Σ c̃ ΠA plus E0."""
    energies = []
    for element, many, single in environments(potential, atoms):
        energy = document['E0'][element]
        for f in document['functions'][element]:
            rank = f['rank']
            for t, value in enumerate(f['ctildes']):
                ms = f['ms_combs'][t * rank : (t + 1) * rank]
                keys = list(zip(f['mus'], f['ns'], f['ls'], ms, strict=True))
                if rank == 1:
                    energy += value * single.get(keys[0][:2], 0.0)
                else:
                    energy += value * np.real(np.prod([many.get(key, 0.0) for key in keys]))
        energies.append(energy)
    return np.array(energies)
