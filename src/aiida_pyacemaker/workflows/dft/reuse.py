"""Nothing is paid for twice: labels of the same frame and theory, anywhere in the profile."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any

from aiida import orm
from aiida.common.timezone import now

from .pw_inputs import KEY
from .pw_label import PwLabelWorkChain

PW_LABEL_TYPE = PwLabelWorkChain.build_process_type()
CHUNK = 500  # keys in one query


def find_labels(keys: Collection[str], code: orm.AbstractCode) -> dict[str, int]:
    """Return the pk of the oldest unflagged label for each of ``keys`` that has one.

    Only labels of the same program count: of the same code, or of another one of the same ``pw.x`` version as the
    newest label of this code.
    """
    version = code_version(code)
    found: dict[str, int] = {}
    wanted = sorted(set(keys))
    for first in range(0, len(wanted), CHUNK):
        for pk, key, flags, uuid, made_by in _candidates(wanted[first : first + CHUNK]):
            same_program = uuid == code.uuid or (version is not None and made_by == version)
            if same_program and flags == [] and pk < found.get(key, pk + 1):
                found[key] = pk
    return found


def find_twin(key: str, code: orm.AbstractCode, patience_s: float) -> orm.WorkChainNode | None:
    """Return the SCF of ``code`` that is, or is about to be, the unflagged label ``key``; ``None``: it has to be paid.

    A lane gives every SCF its key as the label of the node, which the database has an index of. One in progress that is
    paused, or that nothing was heard of for ``patience_s``, is not counted on.
    """
    query = orm.QueryBuilder()
    query.append(orm.WorkChainNode, filters={'label': key, 'process_type': PW_LABEL_TYPE}, project='*', tag='label')
    query.append(orm.AbstractCode, with_outgoing='label', filters={'uuid': code.uuid})
    twins: list[orm.WorkChainNode] = query.all(flat=True)
    done = [twin for twin in twins if twin.is_finished_ok and twin.base.extras.get('label_flags', None) == []]
    heard = now() - timedelta(seconds=patience_s)
    going = [twin for twin in twins if not (twin.is_terminated or twin.paused) and twin.mtime > heard]
    return next(iter([*done, *going]), None)


def code_version(code: orm.AbstractCode) -> str | None:
    """Return the ``pw.x`` version that the newest finished label of ``code`` names, ``None`` without one."""
    query = orm.QueryBuilder()
    query.append(orm.AbstractCode, filters={'uuid': code.uuid}, tag='code')
    query.append(orm.WorkChainNode, with_incoming='code', filters=_finished(), tag='label')
    query.append(
        orm.Dict,
        with_incoming='label',
        edge_filters={'label': 'output_parameters'},
        project='attributes.creator_version',
    )
    query.order_by({'label': {'id': 'desc'}})
    row = query.first(flat=True)
    return str(row) if row is not None else None


def _candidates(keys: list[str]) -> Iterable[list[Any]]:
    query = orm.QueryBuilder()
    query.append(
        orm.WorkChainNode,
        filters={**_finished(), f'extras.{KEY}': {'in': keys}},
        project=['id', f'extras.{KEY}', 'extras.label_flags'],
        tag='label',
    )
    query.append(orm.AbstractCode, with_outgoing='label', edge_filters={'label': 'pw__code'}, project='uuid')
    query.append(
        orm.Dict,
        with_incoming='label',
        edge_filters={'label': 'output_parameters'},
        project='attributes.creator_version',
    )
    return query.iterall()


def _finished() -> dict[str, Any]:
    return {'process_type': PW_LABEL_TYPE, 'attributes.exit_status': 0, 'attributes.process_state': 'finished'}
