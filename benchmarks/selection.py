"""Error of a student against the number of frames it learns from, for every method of selection and for chance.

    python benchmarks/selection.py make --into FOLDER       # pools and frozen test frames, labelled
    python benchmarks/selection.py run --into FOLDER        # fits, one line a fit in results.jsonl; goes on
    python benchmarks/selection.py report --into FOLDER [--figure docs/images/selection.png]

Systems: `silicon` (labels of the three MACE models of the example) and `copper-gold` (ASE's effective medium theory).
Every seed draws 70 % of the pool at random and selects from that, so that methods without chance have a spread too.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from scipy.stats import spearmanr

from aiida_pyacemaker.science.ace import AcePotential, build_potential
from aiida_pyacemaker.science.ace.blocks import Assembly, make_fit_block
from aiida_pyacemaker.science.ace.evaluator import evaluate
from aiida_pyacemaker.science.ace.fit import solve_blocks
from aiida_pyacemaker.science.ace.weights import RowWeights
from aiida_pyacemaker.science.baseline.fitting import fit_baseline
from aiida_pyacemaker.science.config import FitConfig, PoolConfig
from aiida_pyacemaker.science.frames import HAS_ENERGY, HAS_FORCES, Frames
from aiida_pyacemaker.science.pools import make_pool
from aiida_pyacemaker.science.selection import (
    Candidates,
    distribution_entropy,
    find_environments,
    find_strata,
    kernel_width,
    project_features,
    select,
)
from aiida_pyacemaker.science.teacher import label_frames, load_teacher, teacher_calculator, teacher_descriptors

TEACHERS = sorted((Path(__file__).parents[1] / 'examples' / 'silicon' / 'teachers').glob('*.model'))
COUNTS = (25, 50, 100, 200, 400)
FRACTION = 0.7
POOL = {
    'n_strained': 80,
    'n_rattled': 300,
    'n_vacancy': 60,
    'n_md_frames': 300,
    'md_temperatures_K': (300.0, 900.0, 1500.0),
    'n_sheared': 60,
    'n_monte_carlo': 80,
    'n_liquid': 120,
    'n_random': 60,
    'n_interstitial': 40,
    'n_surface': 40,
    'max_atoms': 16,
    'max_force_eV_per_A': 20.0,
}
SYSTEMS: dict[str, dict[str, Any]] = {
    'silicon': {'elements': ['Si'], 'pool': {'subsystems': 1, 'structure_types': ('diamond', 'sc', 'bcc', 'fcc')}},
    'copper-gold': {
        'elements': ['Au', 'Cu'],
        'pool': {'subsystems': 2, 'structure_types': ('fcc', 'bcc', 'B2', 'L1_0', 'L1_2')},
    },
}
# method, space, quotas: what is compared
WAYS: dict[str, tuple[str, str, float]] = {
    'random': ('random', 'teacher', 0.0),
    'random, quotas': ('random', 'teacher', 0.5),
    'direct, teacher': ('direct', 'teacher', 0.0),
    'direct, student': ('direct', 'student', 0.0),
    'farthest, teacher': ('farthest', 'teacher', 0.0),
    'farthest, student': ('farthest', 'student', 0.0),
    'entropy, student': ('entropy', 'student', 0.0),
    'd_optimal': ('d_optimal', 'student', 0.0),
    'd_optimal, quotas': ('d_optimal', 'student', 0.5),
    'max_volume': ('max_volume', 'student', 0.0),
}


def calculator_of(system: str) -> Calculator:
    """Return what labels the system."""
    return EMT() if system == 'copper-gold' else teacher_calculator(load_teacher(TEACHERS[:1]))


def label_with(frames: Frames, calculator: Calculator) -> Frames:
    """Return the frames with the calculator's energies and forces."""
    energy, forces = [], []
    for atoms in frames.iter_atoms():
        atoms.calc = calculator
        energy.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())
    mask = np.full(len(frames), HAS_ENERGY | HAS_FORCES, dtype=np.uint8)
    return frames.with_columns(energy=np.array(energy), forces=np.concatenate(forces), label_mask=mask)


def basis_of(system: str) -> AcePotential:
    """Return the student's basis: 100 functions an element, two bonds wide."""
    elements = SYSTEMS[system]['elements']
    return build_potential(elements, FitConfig(number_of_functions_per_element=100, cutoff=5.0))


def make(system: str, folder: Path) -> None:
    """Write pool, test frames and the teacher's features."""
    settings = SYSTEMS[system]
    config = PoolConfig(**(POOL | settings['pool']))
    calculator = calculator_of(system)
    for name, seed in (('pool', 1), ('test', 2)):
        drawn = config if name == 'pool' else config.times(0.25)
        made = make_pool(
            [], drawn, calculator=calculator, rng=np.random.default_rng(seed), elements=settings['elements']
        )
        labelled = label_with(made.frames, calculator) if system != 'silicon' else label_silicon(made.frames)
        labelled.save(folder / f'{system}_{name}.npz')
        print(f'{system} {name}: {len(labelled)} frames, {labelled.n_atoms} atoms, dropped {made.dropped}', flush=True)
    pool = Frames.load(folder / f'{system}_pool.npz')
    if system == 'silicon':
        np.save(folder / f'{system}_features.npy', teacher_descriptors(load_teacher(TEACHERS), pool))


def label_silicon(frames: Frames) -> Frames:
    """Return the frames with the mean labels of the three models."""
    return label_frames(load_teacher(TEACHERS), frames)


def errors_of(potential: AcePotential, baseline: Any, frames: Frames) -> dict[str, float]:
    """Return root mean square errors, meV/atom and meV/Å (components), and the mean absolute one of the forces."""
    energy, forces = [], []
    for index, atoms in enumerate(frames.iter_atoms()):
        found, pair = evaluate(potential, atoms), baseline.evaluate(atoms)
        energy.append((found.energies.sum() + pair[0].sum() - frames.energy[index]) / len(atoms))
        forces.append((found.forces + pair[1] - frames.forces[frames.span(index)]).ravel())
    every = np.concatenate(forces)
    return {
        'energy': 1e3 * float(np.sqrt(np.mean(np.square(energy)))),
        'forces': 1e3 * float(np.sqrt(np.mean(every**2))),
        'forces_absolute': 1e3 * float(np.mean(np.abs(every))),
    }


def fit(frames: Frames, start: AcePotential, baseline: Any) -> AcePotential:
    """Return the student of the frames."""
    weights = RowWeights.from_config(FitConfig(weight_stress=0.0))
    block = make_fit_block(frames, start, name='pool', baseline=baseline, weights=weights, assembly=Assembly())
    return solve_blocks([block], start, factors={}, own_zero=None, complete=True).potential


def run(system: str, folder: Path, ways: list[str], seeds: int) -> None:
    """Fit every way, count and seed that results.jsonl does not hold yet."""
    pool, test = (Frames.load(folder / f'{system}_{name}.npz') for name in ('pool', 'test'))
    start, baseline = basis_of(system), fit_baseline(SYSTEMS[system]['elements'], 'ZBL', None)
    results = folder / 'results.jsonl'
    done = {
        (row['system'], row['way'], row['count'], row['seed'])
        for row in map(json.loads, results.read_text().splitlines() if results.exists() else [])
    }
    environments, strata = find_environments(start, pool), find_strata(pool)
    features = {'student': environments.frame_features()}
    if (folder / f'{system}_features.npy').exists():
        features['teacher'] = np.load(folder / f'{system}_features.npy')
    for seed in range(seeds):
        part = np.sort(np.random.default_rng([7, seed]).permutation(len(pool))[: round(FRACTION * len(pool))])
        scores = {space: project_features(table[part]).scores for space, table in features.items()}
        width = kernel_width(scores['student'], max(COUNTS))
        for way in ways:
            method, space, floor = WAYS[way]
            space = 'student' if method == 'random' else space
            if space not in scores:
                continue
            known = Candidates(scores=scores[space], environments=environments.select(part), strata=strata[part])
            for count in COUNTS:
                if (system, way, count, seed) in done:
                    continue
                rng = np.random.default_rng([seed, count])
                rows = select(known, method, count=count, rng=rng, floor=floor)  # type: ignore[arg-type]
                chosen = pool.select(part[rows])
                line = {
                    'system': system, 'way': way, 'count': count, 'seed': seed, 'n_atoms': chosen.n_atoms,
                    **errors_of(fit(chosen, start, baseline), baseline, test),
                    'entropy': distribution_entropy(scores['student'][rows], width),
                }  # fmt: skip
                with results.open('a') as handle:
                    handle.write(json.dumps(line) + '\n')
        print(f'{system}: seed {seed} done', flush=True)


def read_results(folder: Path) -> dict[tuple[str, str], dict[int, list[dict[str, float]]]]:
    """Return (system, way) -> count -> lines."""
    table: dict[tuple[str, str], dict[int, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    for line in (folder / 'results.jsonl').read_text().splitlines():
        row = json.loads(line)
        table[row['system'], row['way']][row['count']].append(row)
    return table


def report(folder: Path, figure: Path | None) -> None:
    """Print the errors with their spread, how many frames chance needs for the same, atoms and what entropy tells."""
    table = read_results(folder)
    for system in SYSTEMS:
        ways = [way for way in WAYS if (system, way) in table]
        if 'random' not in ways:
            continue
        rows = {way: table[system, way] for way in ways}
        print(f'\n{system}: {len(rows["random"][COUNTS[0]])} seeds')
        for key, said in (('forces', 'rms'), ('forces_absolute', 'mean absolute')):
            print_table(f'{said} force error, meV/Å, by frames', rows, lambda lines, key=key: spread_of(lines, key))
            chance = [float(np.mean([line[key] for line in rows['random'][count]])) for count in COUNTS]
            print_table(
                f'frames of chance for the same {said} error, by frames',
                rows,
                lambda lines, key=key, chance=chance: frames_of_chance(np.mean([line[key] for line in lines]), chance),
            )
        print_table('atoms, by frames', rows, lambda lines: f'{np.mean([line["n_atoms"] for line in lines]):.0f}')
        print_entropy(rows)
    print_verdict(table)
    if figure is not None:
        draw(table, figure)


def print_table(title: str, rows: dict[str, Any], cell: Any) -> None:
    """Print a table of one cell a way and a count."""
    print(f'\n| {title} | ' + ' | '.join(map(str, COUNTS)) + ' |')
    print('|---|' + '---|' * len(COUNTS))
    for way, lines in rows.items():
        print(f'| {way} | ' + ' | '.join(cell(lines[count]) for count in COUNTS) + ' |')


def spread_of(lines: list[dict[str, float]], key: str) -> str:
    """Return mean ± standard deviation over the seeds."""
    values = [line[key] for line in lines]
    return f'{np.mean(values):.0f} ± {np.std(values, ddof=1):.0f}' if len(values) > 1 else '-'


def frames_of_chance(error: float, chance: list[float]) -> str:
    """Return with how many frames drawn at random the error is the same, interpolated in logarithms.

    Chance is given its best so far where its curve rises; ``>`` where it never gets there, ``<`` where it begins below.
    """
    best = np.log(np.minimum.accumulate(chance))
    if np.log(error) < best[-1]:
        return f'> {COUNTS[-1]}'
    if np.log(error) > best[0]:
        return f'< {COUNTS[0]}'
    return f'{np.exp(np.interp(-np.log(error), -best, np.log(COUNTS))):.0f}'


def print_verdict(table: dict[tuple[str, str], dict[int, list[dict[str, float]]]]) -> None:
    """Print the errors of every way over those of chance: geometric means over counts, by system and together."""
    systems = [system for system in SYSTEMS if (system, 'random') in table]
    for key, said in (('forces', 'rms'), ('forces_absolute', 'mean absolute')):
        print(f'\n| {said} force error over that of chance, geometric mean | ' + ' | '.join(systems) + ' | all |')
        print('|---|' + '---|' * (len(systems) + 1))
        for way in WAYS:
            found = [mean_ratio(table[system, way], table[system, 'random'], key) for system in systems]
            cells = ['-' if value is None else f'{np.exp(value):.2f}' for value in found]
            known = [value for value in found if value is not None]
            cells.append(f'{np.exp(np.mean(known)):.2f}' if len(known) == len(found) else '-')
            print(f'| {way} | ' + ' | '.join(cells) + ' |')


def mean_ratio(rows: dict[int, Any], chance: dict[int, Any], key: str) -> float | None:
    """Return the mean over counts of the logarithm of the mean error over that of chance."""
    if not all(rows.get(count) for count in COUNTS):
        return None
    means = [[np.mean([line[key] for line in lines[count]]) for count in COUNTS] for lines in (rows, chance)]
    return float(np.mean(np.log(means[0]) - np.log(means[1])))


def print_entropy(rows: dict[str, Any]) -> None:
    """Print how entropy and force error of selections of equal size go together."""
    said = []
    for count in COUNTS:
        lines = [line for way in rows.values() for line in way[count]]
        found = spearmanr([line['entropy'] for line in lines], [line['forces'] for line in lines])
        said.append(f'{found.statistic:.2f} ({count})')
    print('\nrank correlation of entropy and rms force error over ways and seeds, by frames: ' + ', '.join(said))


def draw(table: dict[tuple[str, str], dict[int, list[dict[str, float]]]], path: Path) -> None:
    """Draw the learning curves."""
    import matplotlib as mpl

    mpl.use('Agg')
    from matplotlib import pyplot as plt

    systems = [system for system in SYSTEMS if (system, 'random') in table]
    measures = (('forces', 'rms'), ('forces_absolute', 'mean absolute'))
    canvas, axes = plt.subplots(2, len(systems), figsize=(4.6 * len(systems), 7.2), squeeze=False)
    for row, (key, said) in zip(axes, measures, strict=True):
        for axis, system in zip(row, systems, strict=True):
            for number, way in enumerate(WAYS):
                lines = table.get((system, way))
                if not lines:
                    continue
                errors = np.array([[line[key] for line in lines[count]] for count in COUNTS])
                style = {'color': 'black', 'linewidth': 2.5} if way == 'random' else {'color': f'C{number}'}
                means, spreads = errors.mean(axis=1), errors.std(axis=1, ddof=1)
                axis.errorbar(np.array(COUNTS) * 1.006**number, means, yerr=spreads, capsize=2, label=way, **style)
            axis.set(xscale='log', yscale='log', title=system, xlabel='frames', ylabel=f'{said} force error, meV/Å')
            axis.set_xticks(COUNTS, [str(count) for count in COUNTS])
            axis.minorticks_off()
            ticks = [100, 150, 200, 300, 500, 700, 1000]
            axis.set_yticks(ticks, [str(tick) for tick in ticks])
    handles = {name: handle for axis in axes[0] for handle, name in zip(*axis.get_legend_handles_labels(), strict=True)}
    canvas.legend(handles.values(), handles.keys(), loc='lower center', ncols=5, fontsize=8)
    canvas.tight_layout(rect=(0, 0.06, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=100)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('action', choices=('make', 'run', 'report'))
    parser.add_argument('--systems', nargs='+', choices=tuple(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument('--into', type=Path, required=True)
    parser.add_argument('--figure', type=Path)
    parser.add_argument('--ways', nargs='+', choices=tuple(WAYS), default=list(WAYS))
    parser.add_argument('--seeds', type=int, default=5)
    given = parser.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    for system in given.systems if given.action != 'report' else ():
        make(system, given.into) if given.action == 'make' else run(system, given.into, given.ways, given.seeds)
    if given.action == 'report':
        report(given.into, given.figure)


if __name__ == '__main__':
    main()
