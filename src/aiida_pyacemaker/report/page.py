"""The report of a run: figures, one HTML page that needs nothing else, ``summary.json`` and the potential to use."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from . import figures, uncertainty_figures
from .bundle import write_potential_bundle
from .collect import collect_run, summarise
from .provenance import OVER

CAPTIONS = {
    'gamma': 'The MD: largest γ of any atom. Up to about 1 the potential has seen such surroundings; it halts where it '
    'has not, learns, and resumes there.',
    'by_temperature': 'What halts the MD against temperature, of the frames that were kept: largest and median.',
    'by_place': 'The same against position: the largest of all kept frames in slabs along the cell vectors.',
    'parity': 'Forces on the core atoms of cutouts that were kept out of training, against DFT: the first potential '
    'and the last. On the line is right.',
    'learning': 'What the DFT bought: the error on the kept-out cutouts after each round of learning.',
    'gates': 'The gates of phase 2: how much of the allowed deviation from its teacher the distilled potential uses.',
    'phases': 'Where the time went, step by step.',
}

PAIRED = ('by_temperature', 'by_place', 'parity', 'learning', 'gates', 'phases')

GATE_WORDS = {
    'lattice': 'lattice: cube root of the cell volume (Å)',
    'bulk_modulus': 'bulk modulus (GPa)',
    'born_stability': 'Born stability: smallest stiffness (GPa)',
    'md_steps': 'miniature MD: steps',
    'md_max_gamma': 'miniature MD: largest γ',
}


def write_report(root: int, folder: Path) -> dict[str, Any]:
    """Write ``report.html``, its PNGs, ``summary.json`` and ``potential/`` of the run ``root``; return the summary."""
    from aiida import orm

    folder.mkdir(parents=True, exist_ok=True)
    collected = collect_run(root)
    summary = summarise(collected)
    images = draw_all(collected, folder)
    node = orm.load_node(root)
    lines: Sequence[str] = ()
    if 'potential' in node.outputs:
        lines = write_potential_bundle(node.outputs.potential, find_start(node), folder / 'potential')
    (folder / 'summary.json').write_text(json.dumps(summary, indent=1) + '\n')
    (folder / 'report.html').write_text(render_page(collected, summary, images, lines))
    return summary


def find_start(root: Any) -> Any:
    """Return where the MD of a run started: what was given, else the crystal that phase 1 found."""
    if 'md_structure' in root.inputs:
        return root.inputs.md_structure
    return root.base.links.get_outgoing(link_label_filter='md_structure').one().node.outputs.result


def draw_all(collected: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Draw the figures there are data for as PNGs in ``folder``; return them by name."""
    from matplotlib.figure import Figure

    settings = collected['settings']
    thresholds = _thresholds(settings)
    parity, learning = collected['parity'], collected['learning']
    found = collected['uncertainty']
    unsure = {'found': found, 'measure': _rule(settings).measure}
    drawings: dict[str, tuple[Any, Callable[[Any], None], tuple[float, float]]] = {
        'gamma': (
            collected['segments'],
            partial(figures.draw_gamma, segments=collected['segments'], thresholds=thresholds),
            (9.0, 3.4),
        ),
        'by_temperature': (found, partial(uncertainty_figures.draw_against_temperature, **unsure), (4.6, 4.2)),
        'by_place': (found, partial(uncertainty_figures.draw_against_place, **unsure), (4.6, 4.2)),
        'parity': (parity, partial(figures.draw_parity, parity=parity), (4.6, 4.2)),
        'learning': (learning, partial(figures.draw_learning, learning=learning), (4.6, 4.2)),
        'gates': (collected['gates'], partial(figures.draw_gates, gates=collected['gates']), (4.6, 4.2)),
        'phases': (collected['phases'], partial(figures.draw_phase_times, phases=collected['phases']), (4.6, 4.2)),
    }
    images = {}
    for name, (data, draw, size) in drawings.items():
        if not data:
            continue
        figure = Figure(figsize=size, layout='constrained')
        axes = figure.add_subplot()
        axes.spines[['top', 'right']].set_visible(False)
        draw(axes)
        images[name] = folder / f'{name}.png'
        figure.savefig(images[name], dpi=150)
    return images


def _thresholds(settings: Mapping[str, Any]) -> dict[str, float]:
    values = _rule(settings).model_dump()
    return {name: value for name, value in values.items() if name.startswith('threshold_')}


def _rule(settings: Mapping[str, Any]) -> Any:
    from ..science.config import LoopStrategyConfig

    return LoopStrategyConfig.model_validate(settings.get('strategy', {})).thresholds


def render_page(
    collected: Mapping[str, Any], summary: Mapping[str, Any], images: Mapping[str, Path], lines: Sequence[str]
) -> str:
    """Return the page as HTML with every figure inside it."""
    run = collected['run']
    kind, words = _verdict(run)
    verdict = f'<b class="{kind}">{html.escape(words)}</b>'
    style = resources.files(__package__).joinpath('page.css').read_text()
    pairs = ''.join(_figure(name, images) for name in PAIRED)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>aiida-pyacemaker: run {run['pk']}</title><style>
{style}</style></head><body>
<h1>{html.escape(run['label'])} #{run['pk']}</h1>
<p class="lead">Began {run['began']}, took {summary['wall_s']:.0f} s, {verdict}. Node {run['uuid']}.</p>
<div class="tiles">{_tiles(summary)}</div>
{_figure('gamma', images)}<div class="pair">{pairs}</div>
{_walkers(collected)}<h2>Steps</h2>{_steps(collected['phases'])}
<h2>Gates</h2>{_gates(collected['gates'])}
{_usage(lines)}
<h2>Settings</h2><pre>{html.escape(json.dumps(collected['settings'], indent=1))}</pre>
</body></html>
"""


def _verdict(run: Mapping[str, Any]) -> tuple[str, str]:
    if run['state'] not in OVER:
        return 'soft', f'not over yet ({run["state"]}): what is there so far'
    if run['state'] == 'finished' and run['exit_status'] == 0:
        return 'good', 'reached its MD goal'
    status = '' if run['exit_status'] is None else f' [{run["exit_status"]}]'
    return 'bad', f'ended early: {run["state"]}{status} {run["exit_message"]}'.rstrip(' .')


def _figure(name: str, images: Mapping[str, Path]) -> str:
    return embed_figure(images[name], CAPTIONS[name]) if name in images else ''


def embed_figure(path: Path, caption: str) -> str:
    """Return a PNG file with its caption as HTML that needs no other file."""
    data = base64.b64encode(path.read_bytes()).decode()
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def _usage(lines: Sequence[str]) -> str:
    if not lines:
        return ''
    words = 'The folder <code>potential/</code> holds the files and a script that runs.'
    return f'<h2>Use the potential in LAMMPS</h2><p>{words}</p>\n<pre>{html.escape(chr(10).join(lines))}</pre>'


def _tiles(summary: Mapping[str, Any]) -> str:
    tiles = {
        'teacher labels': f'{summary["n_teacher_labels"]}',
        'DFT calls': f'{summary["n_dft_calls"]}',
        'halts': f'{summary["n_halts"]}',
        'MD steps': f'{summary["md_steps_done"]} / {summary["md_steps_goal"]}',
        'core force RMSE, before (eV/Å)': _number(summary['core_force_rmse_before_eV_per_A']),
        'core force RMSE, after (eV/Å)': _number(summary['core_force_rmse_after_eV_per_A']),
    }
    return ''.join(f'<div class="tile"><b>{value}</b><span>{name}</span></div>' for name, value in tiles.items())


def html_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows under their head as an HTML table."""
    top = ''.join(f'<th>{html.escape(name)}</th>' for name in head)
    body = ''.join(f'<tr>{"".join(f"<td>{html.escape(str(cell))}</td>" for cell in row)}</tr>' for row in rows)
    return f'<table><tr>{top}</tr>{body}</table>'


def _walkers(collected: Mapping[str, Any]) -> str:
    """Return walkers, halts and what was done about them; nothing before the first MD."""
    if not collected['walkers']:
        return ''
    walkers = [
        (each['walker'], each['stretches'], each['halts'], each['outcome'], f'{each["step"]} / {each["goal"]}')
        for each in collected['walkers']
    ]
    parts = ['<h2>Walkers</h2>', html_table(('walker', 'stretches of MD', 'halts', 'last end', 'MD steps'), walkers)]
    if collected['halts']:
        rows = [(*(halt[key] for key in ('round', 'walker', 'step', 'atom')), _number(halt['gamma'])) for halt in
                collected['halts']]  # fmt: skip
        parts += ['<h2>Halts</h2>', html_table(('round', 'walker', 'MD step', 'atom', 'γ'), rows)]
    if collected['notes']:
        rows = [(note['round'], note['walker'], note['what']) for note in collected['notes']]
        parts += ['<h2>Beside learning</h2>', html_table(('round', 'walker', 'what'), rows)]
    return ''.join(parts)


def _steps(phases: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (step['label'], step['process'], step['pk'], f'{step["state"]} [{step["exit_status"]}]')
        + (step['n_dft_calls'], f'{step["wall_s"]:.1f}')
        for step in phases
    ]
    return html_table(('step', 'process', 'node', 'end', 'DFT calls', 's'), rows)


def _gates(gates: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (_gate_words(gate['name']), *(_number(gate.get(key)) for key in ('student', 'teacher', 'value', 'limit')))
        + ('passed' if gate['passed'] else 'failed',)
        for gate in gates
    ]
    return html_table(('gate', 'potential', 'teacher', 'value held against the limit', 'limit', ''), rows)


def _gate_words(name: str) -> str:
    return GATE_WORDS.get(name, f'{name} (GPa)' if name.startswith('C') and name[1:].isdigit() else name)


def _number(value: Any) -> str:
    return f'{value:.4g}' if isinstance(value, int | float) and not isinstance(value, bool) else '–'
