"""The processes below a root: one query a level, one row a process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

OVER = ('finished', 'excepted', 'killed')


@dataclass(frozen=True, kw_only=True)
class ProcessRow:
    """One process: who called it under which link label, its state, when it began and last changed.

    curve: of a fit that is watched, its iterations, last loss and some losses on the way.
    """

    pk: int
    parent: int | None
    label: str
    process_label: str
    node_type: str
    state: str
    exit_status: int | None
    exit_message: str | None
    began: datetime
    changed: datetime
    folder: str | None = None
    curve: dict[str, Any] | None = None

    @property
    def is_over(self) -> bool:
        """Return whether the process has ended, well or not."""
        return self.state in OVER

    @property
    def is_ok(self) -> bool:
        """Return whether the process finished with exit status 0."""
        return self.state == 'finished' and self.exit_status == 0

    @property
    def is_calcjob(self) -> bool:
        """Return whether the process ran a program."""
        return 'calcjob' in self.node_type

    @property
    def wall_s(self) -> float:
        """Return the seconds from the beginning to the last change."""
        return (self.changed - self.began).total_seconds()


PROJECTIONS = (
    'id',
    'attributes.process_label',
    'node_type',
    'attributes.process_state',
    'attributes.exit_status',
    'attributes.exit_message',
    'ctime',
    'mtime',
    'attributes.remote_workdir',
    'extras.pyacemaker_learning_curve',
)


def _row(parent: int | None, label: str, values: Iterable[Any]) -> ProcessRow:
    pk, process_label, node_type, state, status, message, began, changed, folder, curve = values
    return ProcessRow(
        pk=pk,
        parent=parent,
        label=label,
        process_label=process_label or '',
        node_type=node_type,
        state=state or 'created',
        exit_status=status,
        exit_message=message,
        began=began,
        changed=changed,
        folder=folder,
        curve=curve,
    )


def call_tree(root: int) -> list[ProcessRow]:
    """Return the root and everything it called, level by level, in the order of the calls."""
    from aiida import orm

    own = orm.QueryBuilder().append(orm.ProcessNode, filters={'id': root}, project=list(PROJECTIONS)).first()
    if own is None:
        raise ValueError(f'node {root} is not a process: give the PK of a WorkChain')
    rows = [_row(None, own[1] or 'root', own)]
    level = [root]
    while level:
        query = orm.QueryBuilder()
        query.append(orm.ProcessNode, filters={'id': {'in': level}}, project='id', tag='caller')
        query.append(
            orm.ProcessNode,
            with_incoming='caller',
            edge_filters={'type': {'in': ['call_calc', 'call_work']}},
            edge_project='label',
            project=list(PROJECTIONS),
            tag='called',
        )
        query.order_by({'called': {'id': 'asc'}})
        found = []
        for values in query.iterall():
            parent, *projected, label = values
            found.append(_row(parent, label, projected))
        rows += found
        level = [row.pk for row in found]
    return rows


def children_of(rows: Iterable[ProcessRow]) -> dict[int, list[ProcessRow]]:
    """Return the rows by their caller."""
    table: dict[int, list[ProcessRow]] = {}
    for row in rows:
        if row.parent is not None:
            table.setdefault(row.parent, []).append(row)
    return table


def descendants(rows: Iterable[ProcessRow], pk: int) -> list[ProcessRow]:
    """Return everything that ``pk`` called, directly or not, in the order of the nodes."""
    table = children_of(rows)
    found: list[ProcessRow] = []
    todo = [pk]
    while todo:
        below = table.get(todo.pop(), [])
        found += below
        todo += [row.pk for row in below]
    return sorted(found, key=lambda row: row.pk)
