"""From finished pieces to tables, the law of label noise and figures.

    python benchmarks/cutout_fidelity/tables.py --work FOLDER     # pieces of run_dft.py -> results/*.csv
    python benchmarks/cutout_fidelity/tables.py                   # results/*.csv -> law, figures, printed tables

The second form needs nothing but the repository; it writes ``label_noise.json`` into the package.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
RESULTS = HERE / 'results'
LAW = HERE.parents[1] / 'src' / 'aiida_pyacemaker' / 'science' / 'cutout' / 'label_noise.json'
IMAGES = HERE.parents[1] / 'docs' / 'images'
SHELL_CORE, SHELL_CAP = 0, 3
MOVED_A, PLACED_A = 0.6, 0.02  # further from every atom of the frame: something else; nearer: not moved
LOOK_A = 9.0
# an atom this close to a missing one lost a bond: no core atom ever has
BROKEN_A = {'covalent': 2.9, 'molecular': 1.8, 'metal': 3.6, 'ionic': 2.6}
MEASURED = ('covalent', 'molecular', 'metal', 'ionic')
LEAST_BINS, LEAST_FORCES = 3, 20  # of a law
Row = dict[str, Any]


def find_piece(work: Path, name: str) -> Row | None:
    """Return the newest converged piece of a name."""
    found = sorted(
        (path for path in (work / 'pieces').glob(f'{name}_*.json') if len(path.stem) == len(name) + 11),
        key=lambda path: path.stat().st_mtime,
    )
    pieces = [piece for path in found if (piece := json.loads(path.read_text()))['converged']]
    return pieces[-1] if pieces else None


def depths_of(record: Row, parent: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) Å how far every atom is from the nearest atom of the parent that is lacking, (n,) who was moved."""
    from scipy.spatial import cKDTree

    places = np.array(record['positions_A'])
    rows = np.array(record['parents'])
    centre = int(np.flatnonzero((rows == record['job']['atom']) & (np.array(record['shell']) == SHELL_CORE))[0])
    places = places - places[centre]
    reach = np.linalg.norm(places, axis=1).max() + LOOK_A
    sides = np.ceil(reach / parent.cell.lengths()).astype(int)  # the parents are orthogonal
    near = parent.repeat(2 * sides + 1).positions - (parent.positions[record['job']['atom']] + sides @ parent.cell[:])
    near = near[np.linalg.norm(near, axis=1) < reach]
    missing = near[cKDTree(places[rows >= 0]).query(near)[0] > MOVED_A]
    return cKDTree(missing).query(places)[0], cKDTree(near).query(places)[0] > PLACED_A


def read_pieces(work: Path) -> tuple[list[Row], list[Row]]:
    """Return a row for each finished cutout and one for each of its atoms that is as it was.

    These are no caps, lost no bond and were not moved.
    """
    from ase.io import read

    cutouts, atoms = [], []
    for path in sorted((work / 'cutouts').glob('*.json')):
        record = json.loads(path.read_text())
        job = record['job']
        piece, whole = find_piece(work, job['name']), find_piece(work, job['parent'])
        if piece is None or whole is None:
            continue
        parent = read(HERE / 'parents' / f'{job["parent"]}.xyz')
        shell, rows = np.array(record['shell']), np.array(record['parents'])
        truth = np.array(whole['forces_eV_per_A'])
        error = np.array(piece['forces_eV_per_A']) - truth[rows]
        depth, moved = depths_of(record, parent)
        core = shell == SHELL_CORE
        config = job['config']
        label = {
            'parent': job['parent'],
            'atom': job['atom'],
            'label': job['label'],
            'policy': config.get('policy', 'covalent'),
            'core': config['core_radius'],
            'buffer': config['buffer_radius'],
        }
        cutouts.append(
            {
                **label,
                'n_atoms': len(shell),
                'n_core': int(core.sum()),
                'odd': bool(record['report'].get('odd_electrons', False)),
                'spins': 2 if piece['absolute_magnetisation_muB'] is not None else 1,
                'rim_depth': round(float(depth[core].min()), 2),
                'rms': round(float(np.sqrt((error[core] ** 2).mean())), 4),
                'largest': round(float(np.linalg.norm(error[core], axis=1).max()), 4),
                'force': round(float(np.sqrt((truth[rows[core]] ** 2).mean())), 3),
                'iterations': piece['n_iterations'],
                'cpu_s': round(piece['cpu_s'], 1),
                'cpu_over_parent': round(piece['cpu_s'] / whole['cpu_s'], 3),
                'left_out': record['report'].get('n_buffer_left_out', 0),
            }
        )
        inner = (shell != SHELL_CAP) & (depth > BROKEN_A[label['policy']]) & ~moved
        for row in np.flatnonzero(inner):
            square = float((error[row] ** 2).mean())
            known = {'depth': round(float(depth[row]), 3), 'error': round(square**0.5, 4), 'is_core': int(core[row])}
            atoms.append({**label, **known, 'row': int(rows[row]), **as_columns(piece['forces_eV_per_A'][row])})
    return cutouts, atoms


def read_parents(work: Path) -> list[Row]:
    """Return a row with the force of full DFT for each atom of each finished parent, eV/Å."""
    found = []
    for path in sorted((HERE / 'parents').glob('*.xyz')):
        if (piece := find_piece(work, path.stem)) is not None:
            forces = enumerate(piece['forces_eV_per_A'])
            found += [{'parent': path.stem, 'row': row, **as_columns(force)} for row, force in forces]
    return found


def as_columns(force: Iterable[float]) -> Row:
    """Return a force as three columns."""
    return {name: round(value, 5) for name, value in zip(('fx', 'fy', 'fz'), force, strict=True)}


def write_rows(name: str, rows: list[Row]) -> None:
    """Write ``results/NAME``."""
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / name).open('w', newline='') as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def read_rows(name: str) -> list[Row]:
    """Return the rows of ``results/NAME``, none where it is not there."""
    path = RESULTS / name
    if not path.is_file():
        return []
    with path.open() as handle:
        return list(csv.DictReader(handle))


def is_plain(row: Row) -> bool:
    """Say whether a cutout is what the factory makes, caps relaxed or not; the others try something out."""
    return not any(word in row['label'] for word in ('caps', 'vacuum', 'odd', 'relaxed', 'free'))


def plain_rows(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of cutouts as the factory makes them; caps as placed only where they were not moved as well."""
    kept = [row for row in rows if is_plain(row)]
    moved = {(row['parent'], row['atom'], row['label']) for row in kept}
    return [
        row
        for row in kept
        if not row['label'].endswith('_placed')
        or (row['parent'], row['atom'], row['label'].removesuffix('_placed')) not in moved
    ]


def fit_law(atoms: Iterable[Row]) -> Row:
    """Return amplitude (eV/Å) and length (Å) of error(d) = A exp(-d / λ) and how far the logarithms scatter.

    Least squares of ln(mean square in bins of 0.5 Å) on depth, each bin with the root of its atoms: single errors are
    as often small by chance as large.
    """
    rows = list(atoms)
    depth = np.array([float(row['depth']) for row in rows])
    square = np.array([float(row['error']) for row in rows]) ** 2
    bins = np.floor(depth / 0.5)
    centres, errors, counts = [], [], []
    for value in np.unique(bins):
        inside = bins == value
        centres.append(depth[inside].mean())
        errors.append(np.sqrt(square[inside].mean()))
        counts.append(inside.sum())
    slope, start = np.polyfit(centres, np.log(errors), 1, w=np.sqrt(counts))
    left = np.log(errors) - slope * np.array(centres) - start
    if slope >= 0:
        raise ValueError(f'errors of {len(rows)} forces do not fall with depth: this is no law of cutting')
    return {
        'amplitude_eV_per_A': round(float(np.exp(start)), 4),
        'length_A': round(float(-1 / slope), 4),
        'n_forces': len(rows),
        'scatter': round(float(np.exp(np.sqrt(np.average(left**2, weights=counts)))), 2),
        'parents': sorted({row['parent'] for row in rows}),
        'bins': [
            [round(float(x), 2), round(float(y), 4), int(n)] for x, y, n in zip(centres, errors, counts, strict=True)
        ],
    }


def write_law(cutouts: list[Row], atoms: list[Row]) -> dict[str, Row]:
    """Write the laws of what was measured into the package and return them."""
    laws: dict[str, Row] = {}
    atoms, cutouts = plain_rows(atoms), plain_rows(cutouts)
    for policy in MEASURED:
        mine = [row for row in atoms if row['policy'] == policy]
        if len(mine) < LEAST_FORCES or len({int(2 * float(row['depth'])) for row in mine}) < LEAST_BINS:
            continue
        full = [row for row in cutouts if row['policy'] == policy and not int(row['left_out'])]
        offset = min(float(row['rim_depth']) - float(row['buffer']) for row in full)
        laws[policy] = {**fit_law(mine), 'offset_A': round(offset, 2)}
    text = {'unit': 'eV/Å, rms of a component', 'made_by': 'benchmarks/cutout_fidelity/tables.py', 'policies': laws}
    LAW.write_text(json.dumps(text, indent=1, ensure_ascii=False) + '\n')
    return laws


def print_laws(laws: dict[str, Row], atoms: list[Row]) -> None:
    """Print the laws with their bins, and how large the noise of core atoms was that they were not made for alone."""
    print('\n| policy | A (eV/Å) | λ (Å) | forces | parents | scatter of bins | bins: depth (Å), error (eV/Å), forces '
          '| core atoms: measured / law (eV/Å) |\n|' + '---|' * 8)  # fmt: skip
    for policy, law in laws.items():
        core = [row for row in plain_rows(atoms) if row['policy'] == policy and int(row['is_core'])]
        depth, error = (np.array([float(row[name]) for row in core]) for name in ('depth', 'error'))
        told = law['amplitude_eV_per_A'] * np.exp(-depth / law['length_A'])
        compared = f'{np.sqrt(np.mean(error**2)):.3f} / {np.sqrt(np.mean(told**2)):.3f} ({len(core)})'
        bins = '; '.join(f'{depth:.1f}, {error:.3f}, {count}' for depth, error, count in law['bins'])
        numbers = (law['amplitude_eV_per_A'], law['length_A'], law['n_forces'], ', '.join(law['parents']))
        print(f'| {policy} | {" | ".join(map(str, numbers))} | {law["scatter"]} | {bins} | {compared} |')


def print_coarse(work: Path) -> None:
    """Print how much forces of a parent change with the k-points that its boxes have."""
    for path in sorted((work / 'pieces').glob('*_coarse_*.json')):
        coarse = json.loads(path.read_text())
        name = coarse['name'].removesuffix('_coarse')
        whole = find_piece(work, name)
        if whole is not None and coarse['converged']:
            change = np.array(coarse['forces_eV_per_A']) - np.array(whole['forces_eV_per_A'])
            print(f'{name}: {coarse["mesh"]} k-points instead of {whole["mesh"]} (shifted) change its forces by '
                  f'{np.sqrt(np.mean(change**2)):.4f} eV/Å rms')  # fmt: skip


def print_tables(cutouts: list[Row]) -> None:
    """Print every cutout by parent."""
    names = (
        'atom',
        'label',
        'n_atoms',
        'n_core',
        'spins',
        'rim_depth',
        'rms',
        'largest',
        'force',
        'cpu_s',
        'cpu_over_parent',
    )
    for parent in sorted({row['parent'] for row in cutouts}):
        print(f'\n{parent}\n| ' + ' | '.join(names) + ' |\n|' + '---|' * len(names))
        for row in cutouts:
            if row['parent'] == parent:
                print('| ' + ' | '.join(str(row[name]) for name in names) + ' |')


def draw(atoms: list[Row], laws: dict[str, Row]) -> None:
    """Draw errors against depth with the law."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(6, 4))
    for parent in sorted({row['parent'] for row in atoms}):
        mine = [row for row in plain_rows(atoms) if row['parent'] == parent]
        ax.semilogy([float(row['depth']) for row in mine], [float(row['error']) for row in mine], '.', label=parent)
    for policy, style in zip(laws, ('k-', 'k--', 'k:', 'k-.'), strict=False):
        depth = np.linspace(laws[policy]['bins'][0][0], laws[policy]['bins'][-1][0], 50)
        noise = laws[policy]['amplitude_eV_per_A'] * np.exp(-depth / laws[policy]['length_A'])
        ax.semilogy(depth, noise, style, label=f'law, {policy}')
    ax.set_xlabel('distance to the nearest missing atom (Å)')
    ax.set_ylabel('error of the force (eV/Å)')
    ax.set_ylim(1e-3, 2)
    ax.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(IMAGES / 'cutout_fidelity_depth.png', dpi=100)


def main() -> None:
    """Make tables from pieces, or law and figures from tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--work', type=Path)
    arguments = parser.parse_args()
    if arguments.work is not None:
        cutouts, atoms = read_pieces(arguments.work)
        write_rows('dft.csv', cutouts)
        write_rows('atoms.csv', atoms)
        write_rows('parents.csv', read_parents(arguments.work))
    cutouts, atoms = read_rows('dft.csv'), read_rows('atoms.csv')
    laws = write_law(cutouts, atoms)
    print_tables(cutouts)
    print_laws(laws, atoms)
    if arguments.work is not None:
        print_coarse(arguments.work)
    draw(atoms, laws)


if __name__ == '__main__':
    main()
