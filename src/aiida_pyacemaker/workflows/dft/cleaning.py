"""Wave functions and densities go as soon as nobody needs them; how much disk they took is kept."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from aiida import orm

BYTES = 'cleaned_bytes'
BIG = 'out'  # where ``pw.x`` keeps wave functions and densities, relative to the job's folder


def clean_frame(frame: orm.WorkChainNode, policy: str) -> int:
    """Remove what the ended SCF ``frame`` left on the computer; return how many bytes that were.

    policy: 'consumed' removes wave functions and densities, 'all' the folders, 'none' nothing. A run that is cleaned
    and is not the label itself may be asked for its density again when it is served from a cache: it is none any more.
    What cannot be reached stays where it is, with a word in the log of ``frame``.
    """
    if policy == 'none':
        return 0
    total = 0
    for run in (called for called in frame.called if isinstance(called, orm.CalcJobNode)):
        remote = run.outputs.remote_folder if 'remote_folder' in run.outputs else None
        if remote is None or remote.base.extras.get(BYTES, None) is not None or run.base.caching.is_created_from_cache:
            continue
        try:
            removed = _remove(remote, policy)
        except (OSError, KeyError) as error:
            frame.logger.report(f'PwCalculation<{run.pk}>: its folder is not cleaned: {error}')
            continue
        remote.base.extras.set(BYTES, removed)
        total += removed
        if not run.is_finished_ok or not _is_label(frame, run):
            run.base.caching.is_valid_cache = False
    return total


def _is_label(frame: orm.WorkChainNode, run: orm.CalcJobNode) -> bool:
    outputs = frame.outputs
    return 'output_parameters' in outputs and outputs.output_parameters.creator.pk == run.pk


def _remove(remote: orm.RemoteData, policy: str) -> int:
    folder = PurePosixPath(remote.get_remote_path())
    with remote.get_authinfo().get_transport() as transport:
        target = str(folder / BIG)
        size = _size(transport, target) if transport.path_exists(target) else 0
        if policy == 'consumed':
            if size:
                transport.rmtree(target)
            return size
        remote._clean(transport)
    return size


def _size(transport: Any, path: str) -> int:
    total = 0
    for name in transport.listdir(path):
        child = f'{path}/{name}'
        total += _size(transport, child) if transport.isdir(child) else transport.get_attribute(child).st_size
    return total
