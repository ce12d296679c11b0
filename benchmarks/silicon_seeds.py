"""Core force RMSE of the silicon example before and after learning, seed by seed, with bootstrap intervals.

    python benchmarks/silicon_seeds.py PK [PK ...]     # finished runs in the loaded profile
    python benchmarks/silicon_seeds.py --run 1 2 3     # submit these seeds one after another, wait, then print

``--run`` needs a profile that is set up (``examples/silicon/submit.py`` says how) and a running daemon. The interval is
the 2.5 to 97.5 % quantiles of the RMSE over cutouts drawn with replacement. The few cutouts of one run come from one
frame: its interval is wide and says nothing about other frames; the pooled one covers as many frames as there are runs.
All runs are printed as they are, those that ended early too.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXAMPLE = Path(__file__).resolve().parents[1] / 'examples' / 'silicon'
N_RESAMPLES = 10000
POLL_S = 10.0


@dataclass(frozen=True, kw_only=True)
class SeedResult:
    """One run: its seed and end, what it cost, and per kept-out cutout the sum of squared force errors (eV/Å)²."""

    pk: int
    seed: int
    exit_status: int | None
    n_dft_calls: int
    n_rounds: int
    counts: NDArray[np.int64]  # (cutouts,) force components that count
    before: NDArray[np.float64]  # (cutouts,)
    after: NDArray[np.float64]  # (cutouts,)


def rmse(squares: NDArray[np.float64], counts: NDArray[np.int64]) -> float:
    """Return sqrt(sum of squares / number of components) in eV/Å."""
    return float(np.sqrt(squares.sum() / counts.sum()))


def bootstrap_interval(
    squares: NDArray[np.float64], counts: NDArray[np.int64], rng: np.random.Generator
) -> tuple[float, float]:
    """Return the 95 % interval of the RMSE in eV/Å over cutouts drawn with replacement."""
    drawn = rng.integers(len(counts), size=(N_RESAMPLES, len(counts)))
    values = np.sqrt(squares[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def measure(pk: str) -> SeedResult:
    """Return the result of a finished run from its nodes; raise ``ValueError`` when it kept no cutout out."""
    from aiida import orm

    from aiida_pyacemaker.report.collect import collect_counts, collect_generations, collect_phases
    from aiida_pyacemaker.report.evaluate import core_force_errors
    from aiida_pyacemaker.report.provenance import call_tree

    node = orm.load_node(pk)
    if 'held_out_dataset' not in node.outputs:
        raise ValueError(f'{pk} has no kept-out cutouts, expected a finished run of the loop with n_held_out > 0')
    rows = call_tree(node.pk)
    phases = collect_phases(rows)
    generations = collect_generations(node, phases)
    totals = collect_counts(node, rows, phases)
    cutouts = [node.outputs.held_out_dataset[index] for index in range(len(node.outputs.held_out_dataset))]
    errors: dict[str, list[float]] = {}
    counts: list[int] = []
    for name, item in (('before', generations[0]), ('after', generations[-1])):
        found = [core_force_errors(item['potential'], cutout) for cutout in cutouts]
        counts = [len(one['reference']) for one in found]
        errors[name] = [one['rmse_eV_per_A'] ** 2 * count for one, count in zip(found, counts, strict=True)]
    return SeedResult(
        pk=node.pk,
        seed=node.inputs.seed.value,
        exit_status=node.exit_status,
        n_dft_calls=totals['n_dft_calls'],
        n_rounds=totals['n_rounds'],
        counts=np.array(counts),
        before=np.array(errors['before']),
        after=np.array(errors['after']),
    )


def table(results: Sequence[SeedResult], *, seed: int) -> list[str]:
    """Return the lines to print: one a run, one for all cutouts together, one for the pooled change."""
    rng = np.random.default_rng(seed)
    head = f'{"seed":>6}{"run":>8}{"exit":>6}{"SCFs":>6}{"rounds":>8}{"cutouts":>9}'
    lines = [f'{head}   {"before (eV/Å)":20}   after (eV/Å)']
    for item in results:
        head = f'{item.seed:>6}{item.pk:>8}{item.exit_status!s:>6}{item.n_dft_calls:>6}{item.n_rounds:>8}'
        lines.append(f'{head}{len(item.counts):>9}{_both(item.counts, item.before, item.after, rng)}')
    counts, before, after = (
        np.concatenate([getattr(item, name) for item in results]) for name in ('counts', 'before', 'after')
    )
    scfs, rounds = sum(item.n_dft_calls for item in results), sum(item.n_rounds for item in results)
    lines.append(f'{"pooled":>6}{"":>14}{scfs:>6}{rounds:>8}{len(counts):>9}{_both(counts, before, after, rng)}')
    drawn = rng.integers(len(counts), size=(N_RESAMPLES, len(counts)))
    ratio = np.sqrt(after[drawn].sum(axis=1) / before[drawn].sum(axis=1))
    low, high = np.quantile(ratio, [0.025, 0.975])
    change = np.sqrt(after.sum() / before.sum())
    return [*lines, f'after / before, pooled, the same cutouts drawn for both: {change:.3f} [{low:.3f}, {high:.3f}]']


def _both(counts: Any, before: Any, after: Any, rng: np.random.Generator) -> str:
    words = ''
    for squares in (before, after):
        low, high = bootstrap_interval(squares, counts, rng)
        words += f'   {rmse(squares, counts):.3f} [{low:.3f}, {high:.3f}]'
    return words


def run_seeds(seeds: Sequence[int]) -> list[str]:
    """Submit the silicon example with each seed to the daemon, the next when the last has ended; return their PKs."""
    from aiida.engine import submit
    from aiida.engine.daemon.client import get_daemon_client

    sys.path.insert(0, str(EXAMPLE))
    from silicon import make_builder

    if not get_daemon_client().is_daemon_running:
        sys.exit('the daemon is stopped, nothing would run: verdi daemon start 2')
    pks = []
    for seed in seeds:
        node = submit(make_builder(seed=seed))
        print(f'seed {seed}: run {node.pk}', flush=True)
        while not node.is_terminated:
            time.sleep(POLL_S)
        print(f'seed {seed}: {node.process_state.value} [{node.exit_status}]', flush=True)
        pks.append(str(node.pk))
    return pks


def main() -> None:
    """Read the command line, run what is asked for, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('pks', nargs='*', metavar='PK', help='finished runs')
    parser.add_argument('--run', nargs='+', type=int, default=[], metavar='SEED', help='seeds to run first')
    parser.add_argument('--bootstrap-seed', type=int, default=0)
    arguments = parser.parse_args()
    if not arguments.pks and not arguments.run:
        parser.error('give PKs of finished runs, or --run with seeds')
    from aiida import load_profile

    load_profile()
    results = []
    for pk in dict.fromkeys([*arguments.pks, *(run_seeds(arguments.run) if arguments.run else [])]):
        try:
            results.append(measure(pk))
        except ValueError as error:
            print(f'left out: {error}', file=sys.stderr)
    if results:
        print('\n'.join(table(results, seed=arguments.bootstrap_seed)))


if __name__ == '__main__':
    main()
