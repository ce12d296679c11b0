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
    total, label = 0, _label_run(frame)
    for run, remote in _left_behind(frame):
        try:
            removed = _remove(remote, policy)
        except (OSError, KeyError) as error:
            frame.logger.report(f'PwCalculation<{run.pk}>: its folder is not cleaned: {error}')
            continue
        remote.base.extras.set(BYTES, removed)
        total += removed
        if run.pk != label:
            run.base.caching.is_valid_cache = False
    return total


def _left_behind(frame: orm.WorkChainNode) -> list[tuple[orm.CalcJobNode, orm.RemoteData]]:
    """Return the runs of ``frame`` whose folder is not cleaned, and that folder; a run from a cache has none."""
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': frame.pk}, tag='frame')
    query.append(orm.CalcJobNode, with_incoming='frame', project='*', tag='run')
    query.append(
        orm.RemoteData,
        with_incoming='run',
        edge_filters={'label': 'remote_folder'},
        filters={'extras': {'!has_key': BYTES}},
        project='*',
    )
    return [(run, remote) for run, remote in query.all() if not run.base.caching.is_created_from_cache]


def _label_run(frame: orm.WorkChainNode) -> int | None:
    """Return the pk of the run that gave ``frame`` its label, ``None`` where there is none."""
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': frame.pk}, tag='frame')
    query.append(orm.Dict, with_incoming='frame', edge_filters={'label': 'output_parameters'}, tag='said')
    query.append(orm.CalcJobNode, with_outgoing='said', filters={'attributes.exit_status': 0}, project='id')
    found: int | None = query.first(flat=True)
    return found


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
