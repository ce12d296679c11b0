"""How often each halting rule halts for nothing, and how often it misses what the student gets wrong.

    .venv/bin/python benchmarks/halting/rules.py FOLDER [--limit 0.2] [--figure docs/images/halting_roc.svg]

FOLDER holds what ``record.py`` left. Every rule is judged on the same record, cut into windows of 0.2 ps that each
begin with an empty streak. Truth of a window: the atoms whose force error, averaged over 0.1 ps, is above the limit. A
halt is right when what it then learns holds one of them, else it is *for nothing*; a window that has such atoms and no
right halt is a *miss*. Prints Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiida_pyacemaker.science.config import ActiveLearningThresholds

WINDOW, MEAN_STEPS = 200, 100
DEFAULTS = ActiveLearningThresholds()
CALL, SMOOTH, EVERY = DEFAULTS.threshold_call_dft, DEFAULTS.smooth_steps, DEFAULTS.check_every
ADD_OF_CALL, DANGER_OF_CALL = DEFAULTS.threshold_add_train / CALL, DEFAULTS.threshold_danger / CALL
SWEEP = np.geomspace(1.25, 60.0, 25)
TRUTH_EVERY = {'sw': 1, 'mace': 10}
CALLS = (2, 3, 4, 5, 8, 12, 20)
RULES = ('single', 'two-tier', 'persistence: system', 'persistence: atom')


@dataclass(frozen=True)
class Window:
    """γ and whether the truth calls it an event, for the atoms that were ever above a floor: (WINDOW, n), (n,)."""

    gamma: NDArray[np.float32]
    is_event: NDArray[np.bool_]


Records = dict[tuple[str, int], list[tuple[str, Window]]]


def read_windows(folder: Path, limit: float) -> Iterator[Window]:
    """Yield the windows of one record, in time order; limit: eV/Å, above it an error is an event."""
    every = TRUTH_EVERY[folder.name.split('_')[0]]
    for path in sorted(folder.glob('until_*.npz'), key=lambda path: int(path.stem.split('_')[1])):
        rows = np.load(path)['rows']
        first = int(path.stem.split('_')[1]) - WINDOW
        atoms, column = np.unique(rows['atom'], return_inverse=True)
        gamma = np.zeros((WINDOW, len(atoms)), dtype=np.float32)
        error = np.zeros_like(gamma)
        gamma[rows['step'] - first - 1, column] = rows['gamma']
        error[rows['step'] - first - 1, column] = rows['error']
        sums = np.cumsum(error[every - 1 :: every], axis=0)
        span = MEAN_STEPS // every
        sums[span:] -= sums[:-span].copy()
        yield Window(gamma, np.any(sums[span - 1 :] > span * limit, axis=0))


def judge(window: Window, rule: str, call: float, every: int = EVERY, smooth: int = SMOOTH) -> tuple[bool, Any]:
    """Return whether the rule halts in the window, and which atoms it then learns (mask, or None)."""
    gamma = window.gamma[every - 1 :: every]
    over = gamma > call
    if rule in ('single', 'two-tier'):
        halts = np.flatnonzero(over.any(axis=1))
        if not len(halts):
            return False, None
        return True, gamma[halts[0]] > (call if rule == 'single' else ADD_OF_CALL * call)
    streaks = over if rule.endswith('atom') else over.any(axis=1, keepdims=True)
    running = np.zeros(streaks.shape[1], dtype=int)
    begins = np.zeros(streaks.shape[1], dtype=int)
    for check in range(len(gamma)):
        begins[running == 0] = check
        running = (running + 1) * streaks[check]
        done = running >= smooth
        if done.any() or (gamma[check] > DANGER_OF_CALL * call).any():
            begin = begins[done].min() if done.any() else check
            return True, gamma[begin] > ADD_OF_CALL * call
    return False, None


def rates(windows: list[Window], rule: str, call: float, **choices: int) -> dict[str, float]:
    """Return how often a rule is wrong.

    ``false``: of the halts, those whose learnt atoms hold none of an event; ``wrong``: such halts a window; ``miss``:
    of the windows with an event, those without a halt that learns an atom of one; ``right``: of all atoms learnt, those
    of events.
    """
    counts = dict.fromkeys(('halts', 'wrong', 'events', 'hits', 'learnt', 'right'), 0)
    for window in windows:
        halted, learnt = judge(window, rule, call, **choices)
        counts['events'] += bool(window.is_event.any())
        if halted:
            right = int(np.count_nonzero(learnt & window.is_event))
            counts['halts'] += 1
            counts['learnt'] += int(np.count_nonzero(learnt))
            counts['right'] += right
            counts['hits'] += right > 0
            counts['wrong'] += right == 0
    return {
        'false': counts['wrong'] / counts['halts'] if counts['halts'] else np.nan,
        'wrong': counts['wrong'] / len(windows),
        'miss': 1 - counts['hits'] / counts['events'] if counts['events'] else np.nan,
        'right': counts['right'] / counts['learnt'] if counts['learnt'] else np.nan,
    }


def gather(folder: Path, limit: float) -> Records:
    """Return the windows of all records by teacher and number of atoms, with the kind of each."""
    found: Records = {}
    for record in sorted(folder.glob('*_*_*_*')):
        if record.is_dir():
            teacher, kind, atoms, _ = record.name.split('_')
            windows = [(kind, window) for window in read_windows(record, limit)]
            found.setdefault((teacher, int(atoms)), []).extend(windows)
    return dict(sorted(found.items(), key=lambda item: (item[0][0] != 'sw', item[0][1])))


def print_kinds(records: Records) -> None:
    """Print how well γ tells windows with an event from those without, whatever the rule."""
    print('| truth | atoms | MD | windows | with an event | largest γ of windows without one: median, largest | '
          'largest γ on atoms of an event: least, median | atoms of an event in a window |')  # fmt: skip
    print('|---|---|---|---|---|---|---|---|')
    for (teacher, atoms), tagged in records.items():
        for kind in sorted({kind for kind, _ in tagged}):
            windows = [window for name, window in tagged if name == kind]
            calm = [float(window.gamma.max()) for window in windows if not window.is_event.any()]
            events = [window for window in windows if window.is_event.any()]
            tops = [float(window.gamma[:, window.is_event].max()) for window in events]
            counts = np.median([window.is_event.sum() for window in events]) if events else 0
            below = f'{np.median(calm):.1f}, {max(calm):.1f}' if calm else ''
            above = f'{min(tops):.1f}, {np.median(tops):.1f}' if tops else ''
            print(f'| {teacher} | {atoms} | {kind} | {len(windows)} | {len(events)} | {below} | {above} | {counts:g} |')
    print()


def show(value: float) -> str:
    """Return a rate in per cent."""
    return '' if np.isnan(value) else f'{100 * value:.0f} %'


def print_tables(records: dict[tuple[str, int], list[Window]]) -> None:
    """Print the rules by size: by how often γ is looked at, by the length of the streak, by the call threshold."""
    print(f'Call {CALL:g}, add {ADD_OF_CALL * CALL:g}, danger {DANGER_OF_CALL * CALL:g}, streak {SMOOTH}.\n')
    print_table(records, 'every (steps)', RULES, [{'every': every} for every in (1, 5, 10)])
    print(f'\nBy the streak; γ every {EVERY} steps.\n')
    print_table(records, 'streak', RULES[2:], [{'smooth': smooth} for smooth in (1, 2, 3, 5, 8)])
    print('\nBy the call threshold, add and danger in proportion.\n')
    print_table(records, 'call', RULES, [{'call': call} for call in CALLS])


def print_table(
    records: dict[tuple[str, int], list[Window]], name: str, rules: Sequence[str], choices: Sequence[dict[str, Any]]
) -> None:
    """Print a line for every size and choice: halts for nothing / misses / right atoms, for every rule."""
    print(f'| truth | atoms | {name} | ' + ' | '.join(rules) + ' |')
    print('|---|---|---|' + '---|' * len(rules))
    for (teacher, atoms), windows in records.items():
        for choice in choices:
            found = [rates(windows, rule, **{'call': CALL, **choice}) for rule in rules]
            cells = ' | '.join(' / '.join(show(one[key]) for key in ('false', 'miss', 'right')) for one in found)
            print(f'| {teacher} | {atoms} | {next(iter(choice.values()))} | {cells} |')
    print('\nA cell: of the halts, those for nothing / of the windows with an event, those missed / of the atoms '
          'learnt, those of events.')  # fmt: skip


def draw_roc(axes: Any, records: dict[tuple[str, int], list[Window]]) -> None:
    """Draw hits against halts for nothing, a panel for each size, a line for each rule; the default call is marked."""
    for ax, ((teacher, atoms), windows) in zip(axes, records.items(), strict=False):
        for rule in RULES:
            points = [rates(windows, rule, call) for call in SWEEP]
            line = ax.plot([p['wrong'] for p in points], [1 - p['miss'] for p in points], '.-', label=rule, lw=1, ms=3)
            here = rates(windows, rule, CALL)
            ax.plot(here['wrong'], 1 - here['miss'], 'o', mfc='none', color=line[0].get_color())
        ax.set_title(f'{atoms} atoms, truth: {teacher}', fontsize=9)
        ax.set_xlabel('halts for nothing, a window')
        ax.set_ylabel('events hit')
        ax.set_xlim(-0.03, 1.03)
        ax.set_ylim(-0.03, 1.03)
    axes[0].legend(fontsize=7, loc='lower right')


def main() -> None:
    """Print the tables; draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--limit', type=float, default=0.2, help='eV/Å')
    parser.add_argument('--figure', type=Path)
    asked = parser.parse_args()
    tagged = {size: windows for size, windows in gather(asked.folder, asked.limit).items() if windows}
    if not tagged:
        parser.error(f'{asked.folder}: no record has a finished part yet; record.py goes on with it')
    print(f'An event: an atom whose error is above {asked.limit} eV/Å in the mean of {MEAN_STEPS / 1000:g} ps.\n')
    print_kinds(tagged)
    records = {size: [window for _, window in windows] for size, windows in tagged.items()}
    print_tables(records)
    if asked.figure:
        import matplotlib.pyplot as plt

        columns = min(3, len(records))
        lines = -(-len(records) // columns)
        figure, axes = plt.subplots(lines, columns, figsize=(3.4 * columns, 3.2 * lines), squeeze=False)
        draw_roc(axes.ravel(), records)
        for ax in axes.ravel()[len(records) :]:
            ax.axis('off')
        figure.tight_layout()
        asked.figure.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(asked.figure)


if __name__ == '__main__':
    main()
