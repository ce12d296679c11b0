"""Start and stop the daemon of the loaded profile, past the sockets file that a killed broker leaves behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def _client() -> Any:
    from aiida.engine.daemon.client import get_daemon_client

    return get_daemon_client()


def _is_alive(pid: int | None) -> bool:
    """Say whether a process lives; a daemon that was killed leaves its pid file behind."""
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def start_daemon(workers: int = 2) -> bool:
    """Start the daemon with ``workers`` workers; return ``False`` when it was running already."""
    from aiida.manage.configuration import get_config, get_profile

    client = _client()
    if _is_alive(client.get_daemon_pid()):
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
