"""Protocols: named sets of settings in YAML, overridden by the user, unknown keys refused by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any, ClassVar

import yaml
from aiida import orm

from ..science.config import check_settings
from .settings_models import SETTINGS_MODELS

DEFAULT_OPTIONS: dict[str, Any] = {
    'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1},
    'withmpi': False,
    'max_wallclock_seconds': 3600,
}


class ProtocolBuilder:
    """Mixin of our WorkChains: a builder filled from ``protocols/<PROTOCOL>.yaml``."""

    PROTOCOL: ClassVar[str]

    @classmethod
    def get_builder_from_protocol(
        cls,
        task_code: orm.AbstractCode,
        *,
        protocol: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        **nodes: Any,
    ) -> Any:
        """Return a builder: settings from the protocol with ``overrides`` over them, other ports from ``nodes``.

        Raise ``ValueError`` for an unknown protocol, override or port, naming what is allowed.
        """
        builder = cls.get_builder()  # type: ignore[attr-defined]
        cls.check_ports(nodes)
        builder.task_code = task_code
        for port, values in load_protocol(cls.PROTOCOL, protocol, overrides).items():
            setattr(builder, port, orm.Dict(values))
        if options is not None:
            builder.options = merge(DEFAULT_OPTIONS, options)
        for port, node in nodes.items():
            setattr(builder, port, node)
        return builder

    @classmethod
    def check_ports(cls, names: Iterable[str]) -> None:
        """Raise ``ValueError`` naming those of ``names`` that are no inputs, and what is allowed."""
        ports = cls.spec().inputs  # type: ignore[attr-defined]
        unknown = sorted(set(names) - set(ports))
        if unknown:
            raise ValueError(f'{cls.__name__} has no port {", ".join(unknown)}; allowed: {", ".join(sorted(ports))}')


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
    if 'same_as' not in content:
        return content
    source = _read(content['same_as'])
    ports = ('description', *content['ports'])
    protocols = {name: {port: values[port] for port in ports} for name, values in source['protocols'].items()}
    return {**source, 'default_inputs': content.get('default_inputs', {}), 'protocols': protocols}
