"""What phase 1 leaves for its user: ``base.yace`` with all that belongs to it, figures and a page."""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from .bundle import write_potential_bundle
from .distillation_figures import draw_learning_curve, draw_pool, draw_subsystems
from .page import embed_figure, html_table

CAPTIONS = {
    'pool': 'The pool: how many frames each generator made of each set of elements.',
    'subsystems': 'The error of the student against its teacher on frames that were kept out, by set of elements.',
    'generators': 'The same by generator.',
    'learning_curve': 'The error against the number of frames that were learnt from, and where the curve leads.',
}


def write_distillation_report(pk: int, folder: Path) -> dict[str, Any]:
    """Write potential, ``base.yace``, ``report.json``, figures and ``report.html`` of a finished phase 1."""
    from aiida import orm

    node = orm.load_node(pk)
    if 'report' not in node.outputs:
        raise ValueError(f'{node.process_label}<{pk}> has no report: it is {node.process_state.value}')
    folder.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = node.outputs.report.get_dict()
    lines = write_potential_bundle(node.outputs.potential, node.outputs.ground_state, folder)
    shutil.copyfile(folder / 'potential.yace', folder / 'base.yace')
    (folder / 'report.json').write_text(json.dumps(report, indent=1) + '\n')
    images = draw_all(report, count_pool(node.outputs.pool.get_frames()), folder)
    (folder / 'report.html').write_text(render_page(node, report, images, lines))
    return report


def count_pool(frames: Any) -> dict[str, dict[str, int]]:
    """Return how many frames there are by set of elements and generator."""
    from ..science.pools import systems_of

    counts: dict[str, dict[str, int]] = {}
    for system, kind in zip(systems_of(frames), frames.config_type.tolist(), strict=True):
        row = counts.setdefault(system, {})
        row[kind] = row.get(kind, 0) + 1
    return counts


def draw_all(report: Mapping[str, Any], counts: Mapping[str, Mapping[str, int]], folder: Path) -> dict[str, Path]:
    """Draw what there are numbers for as PNGs; return them by name."""
    from matplotlib.figure import Figure

    drawings: dict[str, Any] = {'pool': lambda ax: draw_pool(ax, counts)}
    for name, key in (('subsystems', 'by_subsystem'), ('generators', 'by_generator')):
        if report[key]:
            drawings[name] = lambda ax, rows=report[key]: draw_subsystems(ax, rows)
    curve = report['student'].get('learning_curve') or {}
    if 'exponent' in curve:
        drawings['learning_curve'] = lambda ax: draw_learning_curve(ax, curve)
    images = {}
    for name, draw in drawings.items():
        figure = Figure(figsize=(7.2, 3.8), layout='constrained')
        draw(figure.add_subplot())
        images[name] = folder / f'{name}.png'
        figure.savefig(images[name], dpi=150)
    return images


def render_page(node: Any, report: Mapping[str, Any], images: Mapping[str, Path], lines: tuple[str, ...]) -> str:
    """Return the page as HTML with every figure inside it."""
    style = resources.files(__package__).joinpath('page.css').read_text()
    figures = ''.join(embed_figure(path, CAPTIONS[name]) for name, path in images.items())
    inferred, pool = report['pool']['inferred'], report['pool']
    crystals = [
        (row['formula'], row['structure_type'] or 'given', _number(row['volume_A3_per_atom'], 2),
         _number(row['formation_energy_eV_per_atom'], 3))
        for row in inferred['prototypes']
    ]  # fmt: skip
    melting = [(symbol, inferred['covalent_radii_A'][symbol], kelvin, inferred['md_temperatures_K'][symbol])
               for symbol, kelvin in inferred['melting_points_K'].items()]  # fmt: skip
    dropped = [(kind, reason, count) for kind, reasons in pool['dropped_by_generator'].items()
               for reason, count in reasons.items()]  # fmt: skip
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>aiida-pyacemaker: distillation {node.pk}</title><style>
{style}</style></head><body>
<h1>{html.escape('-'.join(node.inputs.elements.get_list()))}: a potential from a teacher #{node.pk}</h1>
<p class="lead">{html.escape(describe_run(report))}</p>
{figures}
<h2>Use it in LAMMPS</h2><pre>{html.escape(chr(10).join(lines))}</pre>
<h2>Crystals it started from</h2>{html_table(('formula', 'type', 'Å³/atom', 'formation energy, eV/atom'), crystals)}
<h2>Inferred from the elements</h2>{html_table(('element', 'radius, Å', 'melting point, K', 'MD at, K'), melting)}
<h2>Dropped</h2>{html_table(('generator', 'reason', 'frames'), dropped)}
</body></html>
"""


def describe_run(report: Mapping[str, Any]) -> str:
    """Return the run in one sentence or two."""
    pool, labels, error = report['pool'], report['labels'], report['zero_shot_error_against_teacher']
    words = (
        f'{pool["n_frames"]} frames in {len(pool["systems"])} sets of elements were made, {pool["n_dropped"]} dropped; '
        f'the teacher labelled {labels["n_frames"]}, {labels["n_kept"]} were learnt from. Against the teacher, on '
        f'{error["n_frames"] or 0} frames kept out: {_number(error["rmse_forces_eV_per_A"], 3)} eV/Å, '
        f'{_number(error["rmse_energy_eV_per_atom"], 4)} eV/atom.'
    )
    own = report['teacher_error_against_dft']
    return f'{words} The teacher itself against DFT: {_number(own["rmse_forces_eV_per_A"], 3)} eV/Å.' if own else words


def describe_parts(report: Mapping[str, Any]) -> list[str]:
    """Return as lines of text the pool by generator and by set of elements, errors of both, and the learning curve."""
    pool, curve = report['pool'], report['student'].get('learning_curve') or {}
    lost = {kind: sum(reasons.values()) for kind, reasons in pool['dropped_by_generator'].items()}
    lines = []
    for title, key, made in (
        ('set of elements', 'by_subsystem', pool['systems']),
        ('generator', 'by_generator', pool['counts']),
    ):
        lines += ['', f'{title:<16} {"pool":>6} {"dropped":>8} {"tested":>7} {"eV/Å":>7} {"meV/atom":>9}']
        for name in sorted(made, key=lambda name: (name.count('-'), name)):
            row = report[key].get(name, {})
            energy = row.get('rmse_energy_eV_per_atom')
            cells = (
                lost.get(name, 0) if key == 'by_generator' else '',
                row.get('n_frames', 0),
                _number(row.get('rmse_forces_eV_per_A'), 3),
                _number(None if energy is None else 1000.0 * energy, 1),
            )
            lines.append(f'{name:<16} {made[name]:>6} {cells[0]:>8} {cells[1]:>7} {cells[2]:>7} {cells[3]:>9}')
    if 'exponent' in curve:
        points = ', '.join(f'{n}: {error:.3f}' for n, error in zip(curve['n_frames'], curve['errors'], strict=True))
        lines += ['', f'{curve["quantity"]} by frames learnt from: {points}; twice as many promise '
                      f'{curve["gain_of_twice_as_many"]:.0%} less']  # fmt: skip
    return lines


def _number(value: float | None, digits: int) -> str:
    return 'unknown' if value is None else f'{value:.{digits}f}'
