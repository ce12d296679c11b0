"""Protocols: named sets of settings in YAML, overridden by the user, unknown keys refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

import yaml

DEFAULT_OPTIONS: dict[str, Any] = {
    'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1},
    'withmpi': False,
    'max_wallclock_seconds': 3600,
}


def available_protocols(workflow: str) -> dict[str, str]:
    """Return the protocols of ``workflow`` with their descriptions."""
    return {name: values['description'] for name, values in _read(workflow)['protocols'].items()}


def load_protocol(
    workflow: str, protocol: str | None = None, overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the settings of ``workflow`` by port: defaults, then the protocol's, then ``overrides``, which win.

    Raise ``ValueError`` for an unknown protocol, and for a key of ``overrides`` that is no port of the protocol or no
    setting of its model.
    """
    content = _read(workflow)
    name = protocol or content['default_protocol']
    if name not in content['protocols']:
        raise ValueError(f'{workflow} has no protocol {name!r}, allowed: {", ".join(content["protocols"])}')
    chosen = {key: value for key, value in content['protocols'][name].items() if key != 'description'}
    settings = merge(content.get('default_inputs', {}), chosen)
    unknown = sorted(set(overrides or {}) - set(settings))
    if unknown:
        allowed = ', '.join(sorted(settings))
        raise ValueError(f'overrides of {workflow}: unknown {", ".join(unknown)}; allowed: {allowed}')
    merged = merge(settings, overrides or {})
    _check_models(workflow, merged)
    return merged


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the values of ``top`` put over it, dictionary by dictionary."""
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _check_models(workflow: str, settings: Mapping[str, Any]) -> None:
    from ..science.config import check_settings
    from .settings_models import SETTINGS_MODELS

    for port, values in settings.items():
        if port in SETTINGS_MODELS:
            message = check_settings(SETTINGS_MODELS[port], values, port)
            if message:
                raise ValueError(f'settings of {workflow}: {message}')


def _read(workflow: str) -> dict[str, Any]:
    path = resources.files(__package__).joinpath('protocols', f'{workflow}.yaml')
    if not path.is_file():
        raise ValueError(f'no protocols for {workflow!r}')
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content
