"""Whether a student becomes better when core forces weigh by what cutting is known to cost them.

    python benchmarks/cutout_fidelity/weights.py teacher [--draws 20] [--minutes 11]    # appends to results/weights.csv
    python benchmarks/cutout_fidelity/weights.py dft [--draws 200]                      # the same, labels of real DFT
    python benchmarks/cutout_fidelity/weights.py report

A student of the ``balanced`` or ``fast`` weight for DFT is fitted to what another model says of small cells (the
distillation), then to the core forces of some cutouts drawn at random, as the package does it: rows of the untouched
parent, weights within the source, a factor for the source. Judged by the forces of the truth on frames of which
nothing was cut. Four ways: ``clean`` has the truth's own forces as labels (what cutting costs in all), ``equal`` the
labels with equal weights, ``noise`` with s²/(s² + σ²) and the factor of ``equal``, ``package`` the same weights, and
the factor times their mean, as the workflow has it.

``teacher``: truth and labels by the first model of the example's committee on frames of MD, the start by the second;
the law of noise is that of ``results/teacher.csv``. ``dft``: labels of ``results/atoms.csv``, truth ``parents.csv``;
the start by the committee. Rows that are there are not computed again.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from jobs import TEACHERS, UNLIMITED, Job, cut_from, read_parent, replicate
from make_parents import heat
from numpy.typing import NDArray
from tables import RESULTS, Row, fit_law, plain_rows, read_rows
from teacher_tables import law_rows

from aiida_pyacemaker.science.ace import AcePotential, build_potential, evaluate_frames
from aiida_pyacemaker.science.ace.blocks import FitBlock, make_fit_block
from aiida_pyacemaker.science.ace.fit import fit_reference_energies, solve_blocks
from aiida_pyacemaker.science.ace.weights import RowWeights
from aiida_pyacemaker.science.config import FitConfig
from aiida_pyacemaker.science.cutout.label_geometry import RejectedCutoutError
from aiida_pyacemaker.science.cutout.label_noise import NoiseLaw, core_depths, noise_law, noise_weight
from aiida_pyacemaker.science.frames import HAS_ENERGY, HAS_FORCES, SHELL_CORE, Frames
from aiida_pyacemaker.science.teacher import load_teacher, teacher_calculator

TABLE = RESULTS / 'weights.csv'
WAYS = ('clean', 'equal', 'noise', 'package')
COLUMNS = ('truth', 'size', 'weight_dft', 'n_cutouts', 'draw', 'n_forces', 'mean_weight', 'start', *WAYS)
SIZES = {
    'one atom, buffer 1': {'core_radius': 0.0, 'buffer_radius': 1.0, 'max_label_atoms': 130},
    'one atom, buffer 3': {'core_radius': 0.0, 'buffer_radius': 3.0, 'max_label_atoms': 130},
    'core 4, buffer 3, 130 atoms': {'core_radius': 4.0, 'buffer_radius': 3.0, 'max_label_atoms': 130},
    'core 4, buffer 3, all': {'core_radius': 4.0, 'buffer_radius': 3.0, 'max_label_atoms': UNLIMITED},
}
MIXED = 'all four sizes'
COUNTS = (4, 16, 64)
FACTORS = {'fast': 0.3, 'balanced': 10.0}
N_FUNCTIONS = 150
RAMP = [(temperature, 60) for temperature in (300, 600, 900, 1200, 1500, 1800, 2200, 2600, 3000, 3000, 2000, 1000)]


@dataclass(frozen=True, kw_only=True)
class Label:
    """What one cutout says: its frame, rows of the core in it, (n, 3) forces and (n,) noise in eV/Å."""

    frame: int
    rows: NDArray[np.int64]
    forces: NDArray[np.float64]
    noise: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A truth: frames that are cut, their true forces, frames to judge by with theirs, and the student's start.

    cut_are_judged: the frames to judge by are those that are cut.
    """

    frames: Sequence[Atoms]
    truth: Sequence[NDArray[np.float64]]
    judged: Frames
    cut_are_judged: bool
    block: FitBlock
    potential: AcePotential


@cache
def model(*members: int) -> Calculator:
    """Return one member of the example's committee, or the mean of several."""
    files = [TEACHERS / f'silicon_{member}.model' for member in members]
    return teacher_calculator(load_teacher(files, dtype='float64'))


def labelled(structures: Sequence[Atoms], calculator: Calculator) -> Frames:
    """Return frames with energies and forces of a calculator."""
    energies, forces = [], []
    for atoms in structures:
        copy = atoms.copy()
        copy.calc = calculator
        energies.append(copy.get_potential_energy())
        forces.append(copy.get_forces())
    mask = np.full(len(structures), HAS_ENERGY | HAS_FORCES, dtype=np.uint8)
    bare = [Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True) for atoms in structures]
    return Frames.from_atoms(bare, energy=np.array(energies), forces=np.concatenate(forces), label_mask=mask)


def small_cells() -> list[Atoms]:
    """Return strained and rattled cells of 8 to 16 atoms, some with a vacancy: what a distillation would learn from."""
    rng, made = np.random.default_rng(11), []
    for index in range(90):
        atoms = bulk('Si', 'diamond', a=5.43, cubic=True) * ((1, 1, 2) if index % 2 else (1, 1, 1))
        if index % 5 == 0:
            del atoms[0]
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + rng.normal(scale=0.03, size=(3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(scale=(0.03, 0.08, 0.14)[index % 3], size=atoms.positions.shape)
        made.append(atoms)
    return made


def start_from(calculator: Calculator) -> tuple[FitBlock, AcePotential]:
    """Return the block of the small cells and the student fitted to it."""
    frames = labelled(small_cells(), calculator)
    basis = build_potential(['Si'], FitConfig(number_of_functions_per_element=N_FUNCTIONS, cutoff=5.0))
    basis = basis.with_reference_energies(fit_reference_energies([frames], ['Si']))
    block = make_fit_block(frames, basis, name='start', weights=RowWeights())
    return block, solve_blocks([block], basis, factors={}, own_zero=None).potential


def hot_frames(seed: int) -> list[Atoms]:
    """Return a frame from each stage of a ramp of temperatures, a crystal of 64 sites with a vacancy, molten above."""
    atoms = bulk('Si', 'diamond', a=5.43, cubic=True).repeat(2)
    del atoms[0]
    made = []
    for stage, step in enumerate(RAMP):
        atoms = heat(atoms, model(0), [step], 100 * seed + stage, 2.0)
        made.append(atoms)
    return made


def teacher_setting() -> Setting:
    """Return frames of MD with the first model as the truth, judged by those of two other runs."""
    frames = hot_frames(1) + hot_frames(2)
    block, potential = start_from(model(1))
    truth = labelled(frames, model(0))
    return Setting(
        frames=frames,
        truth=[truth.forces[truth.span(index)] for index in range(len(frames))],
        judged=labelled(hot_frames(3) + hot_frames(4), model(0)),
        cut_are_judged=False,
        block=block,
        potential=potential,
    )


def teacher_labels(setting: Setting, size: dict[str, Any]) -> Iterator[Label]:
    """Yield labels of cutouts about every sixth atom of every frame, caps as placed."""
    law = fit_law(law_rows('si6'))
    noise = NoiseLaw(amplitude_eV_per_A=law['amplitude_eV_per_A'], length_A=law['length_A'], offset_A=0.0)
    for number, frame in enumerate(setting.frames):
        index = replicate(frame)
        for atom in range(number % 6, len(frame), 6):
            job = Job(parent='si63_vacancy', atom=atom, label='', config={**size, 'enable_pre_relaxation': False})
            try:
                geometry = cut_from(frame, job)
            except RejectedCutoutError:
                continue
            copy = geometry.atoms.copy()
            copy.calc = model(0)
            core = geometry.shell == SHELL_CORE
            yield Label(
                frame=number,
                rows=geometry.parents[core] % len(frame),
                forces=copy.get_forces()[core],
                noise=noise.at_depth(core_depths(index, atom, geometry)),
            )


def dft_setting() -> Setting:
    """Return silicon's parents with full DFT as the truth, judged by the atoms of all of them that were not cut."""
    names, rows = silicon_parents(), read_rows('parents.csv')
    truth = [vectors([row for row in rows if row['parent'] == name]) for name in names]
    frames = [read_parent(name) for name in names]
    block, potential = start_from(model(0, 1, 2))
    mask = np.full(len(frames), HAS_FORCES, dtype=np.uint8)
    judged = Frames.from_atoms(frames, forces=np.concatenate(truth), label_mask=mask)
    return Setting(frames=frames, truth=truth, judged=judged, cut_are_judged=True, block=block, potential=potential)


def dft_labels(core_only: bool) -> list[Label]:
    """Return the labels of covalent cutouts as the factory makes them; else those of all atoms that lost no bond."""
    names, law = silicon_parents(), noise_law('covalent')
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in plain_rows(read_rows('atoms.csv')):
        if row['parent'] in names and (int(row['is_core']) or not core_only):
            groups.setdefault((row['parent'], row['atom'], row['label']), []).append(row)
    return [
        Label(
            frame=names.index(key[0]),
            rows=np.array([int(row['row']) for row in rows]),
            forces=vectors(rows),
            noise=law.at_depth([float(row['depth']) for row in rows]),
        )
        for key, rows in groups.items()
    ]


def silicon_parents() -> list[str]:
    """Return the names of silicon's parents that full DFT has done."""
    return sorted({row['parent'] for row in read_rows('parents.csv') if row['parent'].startswith('si6')})


def vectors(rows: Sequence[Row]) -> NDArray[np.float64]:
    """Return (n, 3) forces of rows of a table, eV/Å."""
    return np.array([[float(row[axis]) for axis in ('fx', 'fy', 'fz')] for row in rows])


def source_of(setting: Setting, labels: Sequence[Label], way: str) -> Frames:
    """Return the frames of the cutouts, each a copy of its parent in which only forces of the core count.

    An atom that a label holds twice (the core has two of its images) counts with the last of them.
    """
    structures, forces, weights = [], [], []
    for label in labels:
        atoms = setting.frames[label.frame]
        force, weight = np.zeros((len(atoms), 3)), np.zeros(len(atoms))
        force[label.rows] = setting.truth[label.frame][label.rows] if way == 'clean' else label.forces
        weight[label.rows] = 1.0 if way in ('clean', 'equal') else noise_weight(label.noise)
        structures.append(atoms)
        forces.append(force)
        weights.append(weight)
    return Frames.from_atoms(
        structures,
        forces=np.concatenate(forces),
        force_weight=np.concatenate(weights),
        label_mask=np.full(len(structures), HAS_FORCES, dtype=np.uint8),
    )


def error_of(potential: AcePotential, judged: Frames, left_out: NDArray[np.bool_]) -> float:
    """Return the rms error of a force component over the atoms that are not left out, eV/Å."""
    error = evaluate_frames(potential, judged).forces - judged.forces
    return float(np.sqrt(np.mean(error[~left_out] ** 2)))


def compare(setting: Setting, labels: Sequence[Label], factor: float) -> Row:
    """Return the errors of all ways of learning some labels, over atoms that none of them is about."""
    left_out = np.zeros(setting.judged.n_atoms, dtype=bool)
    if setting.cut_are_judged:
        for label in labels:
            left_out[setting.judged.offsets[label.frame] + label.rows] = True
    row: Row = {'start': f'{error_of(setting.potential, setting.judged, left_out):.4f}'}
    blocks = {
        way: make_fit_block(source_of(setting, labels, way), setting.potential, name='dft', weights=RowWeights())
        for way in WAYS[:3]
    }
    for way in WAYS:
        block = blocks['noise' if way == 'package' else way]
        scale = factor * (block.mean_force_weight if way == 'package' else 1.0)
        fitted = solve_blocks([setting.block, block], setting.potential, factors={'dft': scale}, own_zero=('start',))
        row[way] = f'{error_of(fitted.potential, setting.judged, left_out):.4f}'
    n_forces = sum(len(label.rows) for label in labels)
    return {**row, 'n_forces': n_forces, 'mean_weight': f'{blocks["noise"].mean_force_weight:.3f}'}


def scan(truth: str, draws: int) -> Iterator[tuple[tuple[Any, ...], Setting, list[Label], float]]:
    """Yield what is to be compared: key, setting, drawn labels, factor; draw after draw, so that all grow together."""
    setting = teacher_setting() if truth == 'teacher' else dft_setting()
    pools: dict[str, list[Label]]
    if truth == 'teacher':
        pools = {name: list(teacher_labels(setting, size)) for name, size in SIZES.items()}
        pools[MIXED] = [label for labels in pools.values() for label in labels]
    else:
        pools = {'core atoms': dft_labels(core_only=True), 'all that lost no bond': dft_labels(core_only=False)}
    for draw in range(draws):
        for number, (size, labels) in enumerate(pools.items()):
            for count in COUNTS if truth == 'teacher' else (len(labels) * 2 // 3,):
                rng = np.random.default_rng([draw, number, count])
                drawn = [labels[row] for row in rng.choice(len(labels), count, replace=False)]
                for name, factor in FACTORS.items():
                    yield (truth, size, name, count, draw), setting, drawn, factor


def report() -> None:
    """Print mean errors and the ratios of the ways to equal weights with their scatter over the draws."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in read_rows(TABLE.name):
        groups.setdefault((row['truth'], row['size'], row['n_cutouts'], row['weight_dft']), []).append(row)
    print('| truth | labels | cutouts | forces | weight of DFT | mean weight | start | clean labels | equal weights '
          '| noise / equal | package / equal | draws, noise better in |\n|' + '---|' * 12)  # fmt: skip
    for key, rows in sorted(groups.items()):
        values = {
            name: np.array([float(row[name]) for row in rows]) for name in (*WAYS, 'start', 'mean_weight', 'n_forces')
        }
        ratios = [values[way] / values['equal'] for way in ('noise', 'package')]
        told = [f'{ratio.mean():.3f} ± {ratio.std():.3f}' for ratio in ratios]
        errors = [f'{values[name].mean():.3f}' for name in ('mean_weight', 'start', 'clean', 'equal')]
        cells = [*key[:3], f'{values["n_forces"].mean():.0f}', key[3], *errors, *told]
        print(f'| {" | ".join(cells)} | {len(rows)}, {int((ratios[0] < 1).sum())} |')


def main() -> None:
    """Append the rows that are missing, or print what is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('what', choices=('teacher', 'dft', 'report'))
    parser.add_argument('--draws', type=int, default=20)
    parser.add_argument('--minutes', type=float, default=11.0)
    arguments = parser.parse_args()
    if arguments.what == 'report':
        report()
        return
    end = time.monotonic() + 60 * arguments.minutes
    if not TABLE.is_file():
        with TABLE.open('w', newline='') as handle:
            csv.DictWriter(handle, COLUMNS).writeheader()
    known = {tuple(row[name] for name in COLUMNS[:5]) for row in read_rows(TABLE.name)}
    with TABLE.open('a', newline='') as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        for key, setting, labels, factor in scan(arguments.what, arguments.draws):
            if tuple(map(str, key)) in known:
                continue
            if time.monotonic() > end:
                print('time is over, run again for the rest')
                return
            writer.writerow({**dict(zip(COLUMNS[:5], key, strict=True)), **compare(setting, labels, factor)})
            handle.flush()


if __name__ == '__main__':
    main()
