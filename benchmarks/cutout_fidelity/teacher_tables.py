"""What ``results/teacher.csv`` says of cutouts with a teacher as the truth: by size, relaxation and depth.

    python benchmarks/cutout_fidelity/teacher_tables.py

Prints the tables of the documentation and draws ``docs/images/cutout_fidelity_teacher.png``.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from tables import IMAGES, Row, fit_law, read_rows

from aiida_pyacemaker.science.cutout.label_noise import noise_law, noise_weight

PARENTS = ('si63_rattled', 'si63_vacancy', 'si64_amorphous', 'al33_interstitial')
SILICON = 'si6'
WHOLE_CELL_A = 8.9  # a depth that is cut off there says only that nothing is missing nearer
LEAST_OF_A_BIN = 10


def root_mean_square(values: Iterable[float]) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(list(values)))))


def mean_error(rows: list[Row], name: str = 'rms') -> float:
    """Return the rms over all core forces of some cutouts; ``name`` 'centre': over those of the epicentres."""
    weights = [int(row['n_core']) if name == 'rms' else 1 for row in rows]
    return float(np.sqrt(np.average([float(row[name]) ** 2 for row in rows], weights=weights)))


def law_rows(prefix: str) -> list[Row]:
    """Return depth (Å) and error (eV/Å) of every core atom of cutouts as placed, from parents of a name."""
    return [
        {'parent': row['parent'], 'depth': float(depth), 'error': float(error)}
        for row in read_rows('teacher.csv')
        if row['parent'].startswith(prefix) and row['relaxed'] == 'nothing'
        for depth, error in (pair.split(':') for pair in row['by_depth'].split())
        if float(depth) < WHOLE_CELL_A
    ]


def worth_of(row: Row) -> float:
    """Return what the core forces of a silicon cutout weigh in all by DFT's law; a force without noise weighs 1."""
    depths = [float(pair.split(':')[0]) for pair in row['by_depth'].split()]
    return float(noise_weight(noise_law('covalent').at_depth(depths)).sum())


def print_sizes(rows: list[Row]) -> None:
    """Print the error by size for every parent, and more of silicon.

    That of the centres, the part of the squared error on the outer third of the radius, what all forces weigh.
    """
    print('| core, buffer / Å | most atoms | atoms | core atoms | ' + ' | '.join(PARENTS)
          + ' | centres | on the outer third of the radius | weight in all |\n|' + '---|' * 11)  # fmt: skip
    sizes = sorted({(float(row['core']), int(row['limit']), float(row['buffer'])) for row in rows})
    for core, limit, buffer in sizes:
        mine = [
            row
            for row in rows
            if (float(row['core']), int(row['limit']), float(row['buffer'])) == (core, limit, buffer)
        ]
        silicon = [row for row in mine if row['parent'].startswith(SILICON)]
        cells = [f'{core:g}, {buffer:g}', str(limit)]
        cells += [f'{np.median([int(row[name]) for row in silicon]):g}' for name in ('n_atoms', 'n_core')]
        for parent in PARENTS:
            of_parent = [row for row in mine if row['parent'] == parent]
            cells.append(f'{mean_error(of_parent):.3f} ({len(of_parent)})' if of_parent else '')
        cells.append(f'{mean_error(silicon, "centre"):.3f}')
        squares = [int(row['n_core']) * float(row['rms']) ** 2 for row in silicon]
        cells.append(f'{np.average([float(row["rim"]) for row in silicon], weights=squares):.2f}' if core else '')
        cells.append(f'{np.mean([worth_of(row) for row in silicon]):.1f}')
        print('| ' + ' | '.join(cells) + ' |')


def print_relaxed() -> None:
    """Print the same cutouts with nothing relaxed, the caps, caps and buffer, where all three are there."""
    ways = ('nothing', 'caps', 'buffer')
    names = ('parent', 'atom', 'core', 'buffer', 'limit')
    groups: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in read_rows('teacher.csv'):
        groups.setdefault(tuple(row[name] for name in names), {})[row['relaxed']] = row
    whole = {key: group for key, group in groups.items() if len(group) == len(ways)}
    print('\n| parent | core / Å | cutouts | placed | caps relaxed | caps and buffer relaxed | caps better than placed '
          '| buffer better than caps |\n|' + '---|' * 8)  # fmt: skip
    for parent, core in sorted({(key[0], key[2]) for key in whole}):
        mine = [group for key, group in whole.items() if (key[0], key[2]) == (parent, core)]
        errors = [mean_error([group[way] for group in mine]) for way in ways]
        better = [
            sum(float(group[after]['rms']) < float(group[before]['rms']) for group in mine)
            for before, after in (('nothing', 'caps'), ('caps', 'buffer'))
        ]
        told = ' | '.join(f'{error:.3f}' for error in errors)
        print(f'| {parent} | {core} | {len(mine)} | {told} | {better[0]} of {len(mine)} | {better[1]} of {len(mine)} |')


def print_laws() -> None:
    """Print the law of each parent and of silicon as a whole with their bins."""
    print('\n| truth | A / eV/Å | λ / Å | forces | bins: depth / Å, error / eV/Å, forces |\n|' + '---|' * 5)
    for name in (*PARENTS[:3], SILICON):
        law = fit_law(law_rows(name))
        bins = '; '.join(f'{depth:.1f}, {error:.3f}, {count}' for depth, error, count in law['bins'])
        print(f'| {name} | {law["amplitude_eV_per_A"]} | {law["length_A"]} | {law["n_forces"]} | {bins} |')


def draw() -> None:
    """Draw the errors of core forces against depth in bins of a quarter of an Å, parent by parent, DFT's law beside."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(6, 4))
    for parent in PARENTS:
        rows = law_rows(parent)
        bins: dict[int, list[Row]] = {}
        for row in rows:
            bins.setdefault(int(4 * row['depth']), []).append(row)
        kept = [bins[key] for key in sorted(bins) if len(bins[key]) >= LEAST_OF_A_BIN]
        depths = [np.mean([row['depth'] for row in group]) for group in kept]
        ax.semilogy(depths, [root_mean_square(row['error'] for row in group) for group in kept], '.-', label=parent)
    law, depth = noise_law('covalent'), np.linspace(3.3, 5.3, 50)
    ax.semilogy(depth, law.at_depth(depth), 'k--', label="DFT's law, covalent")
    ax.set_xlabel('distance to the nearest missing atom (Å)')
    ax.set_ylabel('rms error of the force (eV/Å)')
    ax.set_ylim(1e-4, 2)
    ax.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(IMAGES / 'cutout_fidelity_teacher.png', dpi=100)


if __name__ == '__main__':
    print_sizes([row for row in read_rows('teacher.csv') if row['relaxed'] == 'nothing'])
    print_relaxed()
    print_laws()
    draw()
