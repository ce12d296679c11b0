"""Start and stop the daemon of the loaded profile, past the sockets file that a killed broker leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def _client() -> Any:
    from aiida.engine.daemon.client import get_daemon_client

    return get_daemon_client()


def start_daemon(workers: int = 2) -> bool:
    """Start the daemon with ``workers`` workers; return ``False`` when it was running already."""
    from aiida.manage.configuration import get_config, get_profile

    client = _client()
    if client.is_daemon_running:
        return False
    folder = get_config().filepaths(get_profile()).get('broker_service', {}).get('dir')
    if folder:
        # nobody listens: a sockets file of a broker that was killed would be taken for a live one
        (Path(folder) / 'broker.sockets').unlink(missing_ok=True)
    client.start_daemon(workers)
    return True


def stop_daemon() -> None:
    """Stop the daemon if it runs."""
    client = _client()
    if client.is_daemon_running:
        client.stop_daemon(wait=True)
