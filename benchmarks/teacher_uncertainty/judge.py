"""How far each way of saying 'unsure' can be trusted on DFT labels that the teacher never saw.

``python judge.py FRAMES.npz [--teachers demo chgnet] [--truth chgnet] [--figure FILE.png]``: FRAMES are labelled cells
(``make_labels.py``); with ``--truth chgnet`` the labels are CHGNet's, from which the demo models learnt, so that what
they share with it is no error. Each kind of frame is a batch, in the order of the file, as if labelled so. Printed
for the committee's spread, the distance of its first member to relaxed crystals, the same with the batches before
counted in, and the size of the force: Spearman's rank correlation with the true force error over all atoms, over those
of a kind (mean over kinds) and over frames (the largest of either in a frame), coverage of the 90 % bound that the
batches before gave, and the rms error over the expected one.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path

import numpy as np
from ase.build import bulk
from numpy.typing import NDArray

from aiida_pyacemaker.science.ace.calibration import GradedErrors
from aiida_pyacemaker.science.frames import Frames
from aiida_pyacemaker.science.teacher import Teacher, atom_features, find_teacher, label_frames
from aiida_pyacemaker.science.teacher.doubt.latent import settle
from aiida_pyacemaker.science.teacher.doubt.trust import judge_trust, rank_correlation

DEMO = Path(__file__).parents[2] / 'examples/silicon/teachers'
TEACHERS = {
    'demo': sorted(str(path) for path in DEMO.glob('*.model')),
    'chgnet': ['chgnet', 'chgnet:0.2.0', 'chgnet:r2scan'],
}
CRYSTALS = {'diamond': 5.46, 'sc': 2.55, 'fcc': 3.85, 'bcc': 3.1}
Grades = dict[str, list[NDArray[np.float64]]]


def relaxed_crystals(teacher: Teacher) -> Frames:
    """Return simple crystals at the volumes where this teacher's energy is least."""
    found = []
    for name, length in CRYSTALS.items():
        trials = [bulk('Si', name, a=length * stretch) for stretch in np.linspace(0.92, 1.08, 9)]
        found.append(trials[int(np.nanargmin(label_frames(teacher, Frames.from_atoms(trials)).energy))])
    return Frames.from_atoms(found)


def split_batches(frames: Frames) -> list[Frames]:
    """Return the frames of each kind, kinds in order of appearance."""
    kinds = list(dict.fromkeys(frames.config_type.tolist()))
    return [frames.select(frames.config_type == kind) for kind in kinds]


def all_grades(names: list[str], batches: list[Frames], folder: str) -> tuple[Grades, list[NDArray[np.float64]]]:
    """Return every grade of every atom, batch by batch, and the error of the forces in eV/Å."""
    committee = find_teacher(names, cache_dir=folder).teacher
    first = find_teacher(names[:1], cache_dir=folder).teacher
    told = [label_frames(committee, batch) for batch in batches]
    features = [atom_features(first, batch) for batch in batches]
    home = relaxed_crystals(first)
    grades: Grades = {
        'committee spread': [each.uncertainty for each in told],
        'distance, nearest': [settle(first, [home]).distance(*pair) for pair in pairs(features, batches)],
        'distance, labels too': [
            settle(first, [home, *batches[:index]]).distance(*pair)
            for index, pair in enumerate(pairs(features, batches))
        ],
        'size of the force': [np.linalg.norm(each.forces, axis=1) for each in told],
    }
    errors = [np.linalg.norm(each.forces - batch.forces, axis=1) for each, batch in zip(told, batches, strict=True)]
    return grades, errors


def pairs(features: list[NDArray[np.float64]], batches: list[Frames]) -> list[tuple[NDArray, NDArray]]:
    """Return features and atomic numbers, batch by batch."""
    return [(each, batch.numbers) for each, batch in zip(features, batches, strict=True)]


def by_frame(values: NDArray[np.float64], batch: Frames) -> NDArray[np.float64]:
    """Return the largest value of each frame."""
    return np.array([values[batch.span(row)].max() for row in range(len(batch))])


def show(name: str, grades: Grades, errors: list[NDArray[np.float64]], batches: list[Frames]) -> None:
    """Print the table of one teacher."""
    kinds = [batch.config_type[0] for batch in batches]
    sizes = zip(grades['size of the force'], batches, strict=True)
    print_by_kind(f'\n{name}: rms error of the force (eV/Å)', kinds, [np.sqrt(np.mean(each**2)) for each in errors])
    ratios = [float(np.linalg.norm(batch.forces) / np.linalg.norm(size)) for size, batch in sizes]
    print_by_kind('rms true force over that of the teacher', kinds, ratios)
    head = 'coverage of the 90 % bound by batch     error / expected'
    print(f'{"":>21} {"atoms":>6} {"of kind":>8} {"frames":>7}   {head}')
    for key, values in grades.items():
        told = judge_trust([GradedErrors(gamma=g, errors=e) for g, e in zip(values, errors, strict=True)], level=0.9)
        frames = [
            np.concatenate([by_frame(value, batch) for value, batch in zip(part, batches, strict=True)])
            for part in (values, errors)
        ]
        inside = np.nanmean([rank_correlation(grade, error) for grade, error in zip(values, errors, strict=True)])
        cover = ' '.join('    -' if value is None else f'{value:5.2f}' for value in told['coverage'])
        ratio = ' '.join('    -' if value is None else f'{value:5.2f}' for value in told['ratio'])
        print(f'{key:>21} {told["spearman"]:6.2f} {inside:8.2f} {rank_correlation(*frames):7.2f}   {cover}   {ratio}')


def print_by_kind(title: str, kinds: list[str], values: list[float]) -> None:
    """Print one value a kind."""
    print(f'{title}: ' + ', '.join(f'{kind} {value:.2f}' for kind, value in zip(kinds, values, strict=True)))


def draw(path: Path, results: dict[str, tuple[Grades, list[NDArray[np.float64]]]], kinds: list[str]) -> None:
    """Draw error against grade, one row a teacher and one column a grade; a colour a kind of frame."""
    from matplotlib.figure import Figure

    columns = list(next(iter(results.values()))[0])
    figure = Figure(figsize=(3.1 * len(columns), 2.8 * len(results)), layout='constrained')
    axes = figure.subplots(len(results), len(columns), squeeze=False)
    for row, (name, (grades, errors)) in zip(axes, results.items(), strict=True):
        for axis, key in zip(row, columns, strict=True):
            for index, (grade, error) in enumerate(zip(grades[key], errors, strict=True)):
                axis.loglog(
                    np.maximum(grade, 1e-4),
                    np.maximum(error, 1e-4),
                    '.',
                    markersize=3,
                    color=f'C{index}',
                    label=kinds[index],
                )
            axis.set_title(f'{name}: {key}', fontsize=9)
            axis.xaxis.set_minor_formatter('')
            axis.set_xlabel('eV/Å' if 'distance' not in key else 'spreads of the known features', fontsize=8)
        row[0].set_ylabel('|F - F(DFT)|, eV/Å', fontsize=8)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc='outside lower center', ncols=len(kinds), markerscale=3)
    figure.savefig(path, dpi=90)


def main() -> None:
    """Print a table a teacher, and draw what is behind it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('frames', type=Path)
    parser.add_argument('--teachers', nargs='+', default=list(TEACHERS), choices=list(TEACHERS))
    parser.add_argument('--truth', choices=('dft', 'chgnet'), default='dft')
    parser.add_argument('--figure', type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter('ignore')
    batches = split_batches(Frames.load(arguments.frames))
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.truth == 'chgnet':
            truth = find_teacher('chgnet', cache_dir=folder).teacher
            batches = [label_frames(truth, batch) for batch in batches]
        print(f'{sum(map(len, batches))} frames, {sum(batch.n_atoms for batch in batches)} atoms; {arguments.truth}')
        for name in arguments.teachers:
            results[name] = all_grades(TEACHERS[name], batches, folder)
            show(name, *results[name], batches)
    if arguments.figure:
        draw(arguments.figure, results, [batch.config_type[0] for batch in batches])


if __name__ == '__main__':
    main()
