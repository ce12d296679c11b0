"""What finished SCFs left in the database, read for many frames with a handful of queries."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiida import orm

CHUNK = 500  # frames in one query
PSEUDOS = 'pw__pseudos__'


@dataclass(kw_only=True)
class ScfAnswer:
    """One SCF: its workflow, and, as far as it came, what it was asked and what the run that is its label says.

    asked, run: namelists asked for and of that run; pseudos: md5 by kind; version: of ``pw.x``.
    """

    node: orm.WorkChainNode
    is_periodic: bool = False
    asked: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    pseudos: dict[str, str] = field(default_factory=dict)
    version: str = 'unknown'
    trajectory: orm.TrajectoryData | None = None


def read_answers(pks: Collection[int]) -> dict[int, ScfAnswer]:
    """Return the answer of every SCF of ``pks``, a frame's workflow each."""
    wanted = sorted(set(pks))
    answers: dict[int, ScfAnswer] = {}
    for first in range(0, len(wanted), CHUNK):
        answers |= _read_chunk(wanted[first : first + CHUNK])
    return answers


def _read_chunk(pks: Sequence[int]) -> dict[int, ScfAnswer]:
    nodes = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': {'in': list(pks)}})
    answers = {node.pk: ScfAnswer(node=node) for node in nodes.all(flat=True)}
    for pk, _, attributes in _linked(pks, orm.StructureData, 'pw__structure', 'attributes', inward=True):
        answers[pk].is_periodic = any(attributes[f'pbc{axis}'] for axis in (1, 2, 3))
    for pk, _, attributes in _linked(pks, orm.Dict, 'pw__parameters', 'attributes', inward=True):
        answers[pk].asked = attributes
    for pk, label, md5 in _linked(pks, orm.Data, f'{PSEUDOS}%', 'attributes.md5', inward=True):
        answers[pk].pseudos[label.removeprefix(PSEUDOS)] = md5
    for pk, _, trajectory in _linked(pks, orm.TrajectoryData, 'output_trajectory', '*'):
        answers[pk].trajectory = trajectory
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': {'in': list(pks)}}, project='id', tag='frame')
    edges = {'label': 'output_parameters'}
    query.append(orm.Dict, with_incoming='frame', edge_filters=edges, project='attributes.creator_version', tag='said')
    query.append(orm.CalcJobNode, with_outgoing='said', tag='run')
    query.append(orm.Dict, with_outgoing='run', edge_filters={'label': 'parameters'}, project='attributes')
    for pk, version, parameters in query.iterall():
        answers[pk].version, answers[pk].run = str(version), parameters
    return answers


def _linked(
    pks: Sequence[int], kind: type[orm.Data], label: str, project: str, *, inward: bool = False
) -> Iterator[list[Any]]:
    """Yield pk of the frame, label of the link and ``project`` of what is linked to it."""
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': {'in': list(pks)}}, project='id', tag='frame')
    joined = {'with_outgoing' if inward else 'with_incoming': 'frame'}
    query.append(kind, edge_filters={'label': {'like': label}}, edge_project='label', project=project, **joined)
    for pk, found, name in query.iterall():
        yield [pk, name, found]
