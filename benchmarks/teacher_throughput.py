"""Labels a second, in batches and by a loop over the same model's own ASE calculator, both in one run.

``python teacher_throughput.py [--family demo foundation chgnet] [--seconds 6]``: energy, forces and stress of rattled
silicon of 2 to 64 atoms, one thread, in CPU seconds (a busy machine stretches the clock, not these). ``foundation`` has
the size of MACE-MPA-0 (128 scalars and vectors, two layers, 6 Å, 89 elements) and random weights: its speed is that of
the real one, its forces are nothing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.science.frames import Frames
from aiida_pyacemaker.science.teacher import find_teacher, label_frames

DEMO = Path(__file__).parents[1] / 'examples/silicon/teachers/silicon_0.model'
WARM = 3
REPEATS = {2: (1, 1, 1), 8: (2, 2, 1), 16: (2, 2, 2), 64: (4, 4, 2)}
SIZES = {'demo': (2, 8, 16, 64), 'foundation': (2, 16, 64), 'chgnet': (2, 8, 16, 64)}


def cells(n_atoms: int, count: int) -> list[Atoms]:
    """Return rattled cells of silicon."""
    rng, made = np.random.default_rng(n_atoms), []
    for _ in range(count):
        atoms = bulk('Si', a=5.45) * REPEATS[n_atoms]
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
        made.append(atoms)
    return made


def write_foundation(target: Path) -> Path:
    """Write a model of a foundation model's size with random weights."""
    from mace import modules  # isort: skip  (e3nn cannot be imported before it)
    from e3nn import o3

    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    block = modules.interaction_classes
    model = modules.ScaleShiftMACE(
        r_max=6.0, num_bessel=10, num_polynomial_cutoff=5, max_ell=3, num_interactions=2, num_elements=89,
        interaction_cls=block['RealAgnosticDensityResidualInteractionBlock'],
        interaction_cls_first=block['RealAgnosticDensityInteractionBlock'],
        hidden_irreps=o3.Irreps('128x0e+128x1o'), MLP_irreps=o3.Irreps('16x0e'), atomic_energies=np.zeros(89),
        avg_num_neighbors=60.0, atomic_numbers=list(range(1, 90)), correlation=3, gate=torch.nn.functional.silu,
        radial_MLP=[64, 64, 64], radial_type='bessel', atomic_inter_scale=1.0, atomic_inter_shift=0.0,
    )  # fmt: skip
    torch.set_default_dtype(torch.float32)
    torch.save(model, target)
    return target


def open_family(family: str, dtype: str, folder: Path) -> tuple[str, Callable[[], Any]]:
    """Return the name of the teacher, and what makes its own ASE calculator."""
    if family == 'chgnet':
        from chgnet.model.dynamics import CHGNetCalculator

        return 'chgnet', lambda: CHGNetCalculator(use_device='cpu')
    from mace.calculators import MACECalculator

    path = str(DEMO if family == 'demo' else write_foundation(folder / 'foundation.model'))
    return path, lambda: MACECalculator(model_paths=[path], device='cpu', default_dtype=dtype)


def time_loop(calculator: Any, structures: Sequence[Atoms]) -> float:
    """Return CPU seconds a structure of the loop; the first calls, in which torch still compiles, are not counted."""
    start = 0.0
    for index, atoms in enumerate([*structures[:WARM], *structures]):
        if index == WARM:
            start = time.process_time()
        atoms = atoms.copy()  # a calculator that has seen these atoms would answer from memory
        atoms.calc = calculator
        atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    return (time.process_time() - start) / len(structures)


def time_batches(teacher: Any, structures: Sequence[Atoms]) -> tuple[float, np.ndarray]:
    """Return CPU seconds a structure in batches of the teacher's own size, first calls not counted, and the forces."""
    for _ in range(WARM):
        label_frames(teacher, Frames.from_atoms(list(structures[:2])))
    start = time.process_time()
    labelled = label_frames(teacher, Frames.from_atoms(list(structures)))
    return (time.process_time() - start) / len(structures), labelled.forces


def compare(family: str, seconds: float) -> Iterable[str]:
    """Yield a line a size: structures a second of loop and batches, and how many times faster."""
    from aiida_pyacemaker.science.teacher import load_teacher

    with tempfile.TemporaryDirectory() as folder:
        name, make_calculator = open_family(family, 'float64', Path(folder))
        found = find_teacher(name, cache_dir=folder)
        teachers = {'float64': found.teacher}
        if family != 'chgnet':
            teachers['float32'] = load_teacher(found.paths, dtype='float32')
        calculator = make_calculator()
        for size in SIZES[family]:
            probe = time_loop(calculator, cells(size, 2))
            structures = cells(size, int(np.clip(seconds / probe / 3, 3, 200)))
            loop = time_loop(calculator, structures)
            said = [f'{family:>10} {size:5d} {len(structures):7d} {1 / loop:10.2f}']
            forces = []
            for teacher in teachers.values():
                batch, found = time_batches(teacher, structures)
                said.append(f'{1 / batch:10.2f} {loop / batch:6.2f}')
                forces.append(found)
            if len(forces) > 1:
                said.append(f'{1e3 * np.abs(forces[1] - forces[0]).max():10.3f}')
            yield ' '.join(said)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--family', nargs='+', default=list(SIZES), choices=list(SIZES))
    parser.add_argument('--seconds', type=float, default=6.0, help='CPU seconds for each of the loops')
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print('frames a second; float32 also against the loop, which is in float64; largest |F32 - F64| in meV/Å')
    print('    family atoms  frames       loop      batch  times    float32  times      |dF|')
    for family in arguments.family:
        for line in compare(family, arguments.seconds):
            print(line, flush=True)


if __name__ == '__main__':
    main()
