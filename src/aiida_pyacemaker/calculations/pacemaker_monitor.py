"""What watches a fit while it runs: its learning curve for ``status``, and an end to a fit that has diverged."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from aiida.engine.processes.calcjobs.monitors import CalcJobMonitorAction, CalcJobMonitorResult
from aiida.orm import CalcJobNode
from aiida.transports import Transport

from ..science.config import PacemakerConfig
from ..science.pacemaker.log import METRICS_FILE, has_diverged, read_metrics

CURVE_EXTRA = 'pyacemaker_learning_curve'
CURVE_POINTS = 24


def watch_loss(node: CalcJobNode, transport: Transport, factor: float = 1e3) -> CalcJobMonitorResult | None:
    """Keep the learning curve in an extra of ``node``; end a fit whose loss is NaN or above ``factor`` x its start.

    The files are parsed all the same, and the parser says what the matter was.
    """
    metrics = read_metrics(fetch_text(node, transport, METRICS_FILE))
    loss = metrics.get('loss', np.zeros(0))
    if not len(loss):
        return None
    settings = PacemakerConfig.model_validate(node.inputs.settings.get_dict().get('pacemaker') or {})
    node.base.extras.set(CURVE_EXTRA, {**summarise_curve(loss), 'maxiter': settings.maxiter})
    if not has_diverged(loss, factor):
        return None
    return CalcJobMonitorResult(
        message=f'the loss is {loss[-1]:.3g} after {len(loss) - 1} iterations, it began with {loss[0]:.3g}',
        action=CalcJobMonitorAction.KILL,
        override_exit_code=False,
    )


def summarise_curve(loss: np.ndarray) -> dict[str, object]:
    """Return iterations so far, the last loss, and at most 24 losses from first to last; what is not finite is None."""
    chosen = np.unique(np.linspace(0, len(loss) - 1, CURVE_POINTS).astype(int))
    values = [float(value) if np.isfinite(value) else None for value in loss[chosen]]
    return {'iterations': len(loss) - 1, 'loss': values[-1], 'losses': values}


def fetch_text(node: CalcJobNode, transport: Transport, name: str) -> str:
    """Return a file of a running job as text; '' where there is none yet."""
    folder = node.get_remote_workdir()
    if folder is None:
        return ''
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / name
        try:
            transport.getfile(str(Path(folder) / name), str(target))
            return target.read_text(errors='replace')
        except OSError:
            return ''
