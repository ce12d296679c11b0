"""pacemaker's ``input.yaml`` from the one basis specification."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..ace import AcePotential
from ..config import PacemakerConfig

INPUT_FILE, DATA_FILE, START_FILE = 'input.yaml', 'training.pckl.gzip', 'start.yaml'


def input_document(
    config: PacemakerConfig,
    *,
    potential: Mapping[str, Any] | None,
    start: AcePotential | None,
    kappa: float,
    reference_energies: Mapping[str, float],
    seed: int,
) -> dict[str, Any]:
    """Return the content of ``input.yaml``.

    potential: the section of a new basis (``ace.basis.pacemaker_section``), ``None`` to go on with that of ``start``;
    start: what the file ``start.yaml`` holds. With both, it is where a ladder goes on. Energies in eV. The reference
    energies are explicit: what pacemaker finds in a potential's metadata, or invents for energies that it finds
    extreme, would move the zero between two fits.
    """
    fit = _fit_section(config, kappa)
    section: Any = START_FILE
    cutoff = 0.0 if start is None else start.cutoff
    if potential is not None:
        section = dict(potential)
        cutoff = max(bond['rcut'] for bond in potential['bonds'].values())
        if start is not None:
            section['initial_potential'] = START_FILE
        if config.ladder_step:  # with a finished potential it would throw its coefficients away
            fit['ladder_step'] = [int(step) if step >= 1 else float(step) for step in config.ladder_step]
            fit['ladder_type'] = config.ladder_type
    if not cutoff:
        raise ValueError('neither a basis nor a potential to start from is given: there is nothing to fit')
    return {
        'cutoff': float(cutoff),
        'seed': int(seed),
        'potential': section,
        'data': {
            'filename': DATA_FILE,
            'reference_energy': {element: float(value) for element, value in reference_energies.items()},
        },
        'fit': fit,
        'backend': {
            'evaluator': 'tensorpot',
            'batch_size': config.batch_size,
            'batch_size_reduction': True,
            'display_step': config.display_step,
        },
    }


def _fit_section(config: PacemakerConfig, kappa: float) -> dict[str, Any]:
    """Return the section `fit` of any fit: loss, minimiser, what is trained."""
    penalties = ('L1_coeffs', 'L2_coeffs', 'w0_rad', 'w1_rad', 'w2_rad')
    section: dict[str, Any] = {
        'loss': {
            'kappa': float(kappa if config.kappa is None else config.kappa),
            **{name: float(getattr(config, name)) for name in penalties},
        },
        'optimizer': config.optimizer,
        'maxiter': config.maxiter,
        'fit_cycles': 1,
    }
    if config.trainable_parameters != 'ALL':
        section['trainable_parameters'] = config.trainable_parameters
    return section


def write_input(path: str | Path, document: Mapping[str, Any]) -> None:
    """Write ``input.yaml``, keys in the order given."""
    Path(path).write_text(yaml.safe_dump(dict(document), sort_keys=False, default_flow_style=None, width=120))
