"""The figures of a report; each draws what it is given on the axes it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

INK, CALM, WARM, ALARM, GOOD = '#1f2933', '#2563a8', '#d9822b', '#c2333b', '#2c8a57'
PHASE_COLOURS = {
    'distillation': '#2563a8',
    'validation': '#5a9bd4',
    'held_out': '#8a94a6',
    'exploration': '#2c8a57',
    'cutout': '#c2333b',
    'finetuning': '#d9822b',
}

THRESHOLDS = {'add_train': ('learn above', GOOD), 'call_dft': ('call DFT', WARM), 'danger': ('danger', ALARM)}


def draw_gamma(ax: Any, segments: Sequence[Mapping[str, Any]], *, thresholds: Mapping[str, float]) -> None:
    """Draw the largest γ of the system against the MD step, one line a segment, a mark where the MD halted.

    Each of several walkers has a colour of its own.

    Not against time: a segment that went back before an excursion has half the timestep.
    """
    names = list(dict.fromkeys(segment.get('walker', '') for segment in segments))
    for segment in segments:
        step = np.asarray(segment['step'], dtype=float)
        gamma = np.asarray(segment['max_gamma'], dtype=float)
        if not len(step):
            continue
        walker = segment.get('walker', '')
        own = {'color': f'C{names.index(walker)}', 'label': walker} if len(names) > 1 else {'color': CALM}
        ax.plot(step, gamma, linewidth=1.1, **own)
        if segment['outcome'] in ('halted', 'danger'):
            ax.axvline(step[-1], color=ALARM, linewidth=0.8, linestyle=':')
            ax.plot(step[-1:], gamma[-1:], marker='v', color=ALARM, markersize=8, linestyle='none', label='halt')
    for name, (words, colour) in THRESHOLDS.items():
        value = thresholds.get(f'threshold_{name}')
        if value:
            ax.axhline(value, color=colour, linewidth=0.9, linestyle='--', label=f'{words} ({value:g})')
    ax.set_yscale('log')
    ax.margins(y=0.12)
    ax.yaxis.set_major_formatter('{x:g}')
    ax.set_xlabel('MD step')
    ax.set_ylabel('largest extrapolation grade γ')
    handles, labels = ax.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if unique:
        place = {'loc': 'lower center', 'bbox_to_anchor': (0.5, 1.0), 'ncols': len(unique)}
        ax.legend(unique.values(), unique.keys(), frameon=False, fontsize=8, **place)


def draw_parity(ax: Any, parity: Mapping[str, Any]) -> None:
    """Draw predicted against DFT core forces in eV/Å, before and after learning, on kept-out frames."""
    reference = np.asarray(parity['reference'])
    for name, colour in (('before', WARM), ('after', CALM)):
        label = f'{name}: RMSE {parity[f"rmse_{name}_eV_per_A"]:.3f} eV/Å'
        ax.plot(reference, parity[name], 'o', markersize=4, color=colour, alpha=0.75, label=label)
    everything = np.concatenate([reference, parity['before'], parity['after']])
    limits = [float(everything.min()), float(everything.max())]
    ax.plot(limits, limits, color=INK, linewidth=0.8)
    ax.set_aspect('equal')
    ax.set_xlabel('DFT core force, x, y, z (eV/Å)')
    ax.set_ylabel('force of the potential (eV/Å)')
    ax.legend(frameon=False, fontsize=8)


def draw_learning(ax: Any, learning: Sequence[Mapping[str, Any]]) -> None:
    """Draw the core force RMSE in eV/Å on kept-out frames against the DFT calls paid for training."""
    calls = [point['n_dft_calls'] for point in learning]
    errors = [point['rmse_eV_per_A'] for point in learning]
    ax.plot(calls, errors, marker='o', color=CALM)
    for point in learning:
        ax.annotate(
            point['label'].replace('_finetune', '').replace('_', ' '),
            (point['n_dft_calls'], point['rmse_eV_per_A']),
            textcoords='offset points',
            xytext=(4, 6),
            fontsize=8,
        )
    ax.margins(x=0.15, y=0.15)
    ax.set_ylim(bottom=0)
    ax.set_xlabel('DFT calls paid for training')
    ax.set_ylabel('core force RMSE against DFT (eV/Å)')


def draw_gates(ax: Any, gates: Sequence[Mapping[str, Any]]) -> None:
    """Draw each gate's value over its limit (1 is the limit); of a gate without numbers the verdict is written."""
    rows = np.arange(len(gates))
    for row, gate in zip(rows, gates, strict=True):
        ratio = gate_ratio(gate)
        colour = GOOD if gate['passed'] else ALARM
        words = ('passed' if gate['passed'] else 'failed') if ratio is None else f'{ratio:.2f}'
        width = 0.0 if ratio is None else min(ratio, 2.0)
        ax.barh(row, width, color=colour, height=0.6)
        ax.annotate(words, (width, row), textcoords='offset points', xytext=(4, -3), fontsize=8, color=colour)
    ax.axvline(1.0, color=INK, linewidth=0.9, linestyle='--')
    ax.set_yticks(rows, [str(gate['name']).replace('_', ' ') for gate in gates], fontsize=8)
    ax.invert_yaxis()
    ax.set_xlim(0, 2.2)
    ax.set_xlabel('value / limit (cut at 2)')


def gate_ratio(gate: Mapping[str, Any]) -> float | None:
    """Return value / limit, or ``None`` for a gate without such numbers or with a limit from below."""
    value, limit = gate.get('value'), gate.get('limit')
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in (value, limit)):
        return None
    ratio = abs(float(value)) / abs(float(limit)) if limit else np.nan  # type: ignore[arg-type]
    return float(ratio) if np.isfinite(ratio) and (ratio <= 1) == bool(gate['passed']) else None


def draw_phase_times(ax: Any, phases: Sequence[Mapping[str, Any]]) -> None:
    """Draw the wall time of every step in s, coloured by phase, in the order they ran."""
    rows = np.arange(len(phases))
    colours = [PHASE_COLOURS[step['phase']] for step in phases]
    ax.barh(rows, [step['wall_s'] for step in phases], color=colours, height=0.65)
    for row, step in zip(rows, phases, strict=True):
        ax.annotate(
            f'{step["wall_s"]:.0f} s', (step['wall_s'], row), textcoords='offset points', xytext=(4, -3), fontsize=8
        )
    ax.set_yticks(rows, [step['label'].replace('_', ' ') for step in phases], fontsize=8)
    ax.invert_yaxis()
    ax.margins(x=0.15)
    ax.set_xlabel('wall time (s)')
