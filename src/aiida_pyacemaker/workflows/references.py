"""The one interface of whatever labels frames with what is taken for the truth."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import Process, calcfunction
from aiida.engine.processes.ports import PortNamespace

from ..data.dataset import AtomicDatasetData
from ..science.frames import concatenate_frames

REPORTED = ('labelled', 'failed', 'not_run', 'n_scf')


def check_reference(process: type[Process]) -> str | None:
    """Return what a process lacks to be a reference, or ``None``.

    A reference takes `dataset` (all it needs beside is its own affair) and gives `labels` (a namespace of datasets that
    together hold the labelled frames in the order of the input), `quarantine` (frames without a label, optional) and
    `report` (a ``Dict`` with :data:`REPORTED`: rows with a label, rows without one and their ``reason``, rows that were
    left out, runs that were paid for).
    """
    spec = process.spec()
    if 'dataset' not in spec.inputs or not _takes(spec.inputs['dataset'].valid_type, AtomicDatasetData):
        return f'{process.__name__}: no input `dataset` of frames'
    labels = spec.outputs.get('labels')
    if not isinstance(labels, PortNamespace) or not labels.dynamic:
        return f'{process.__name__}: no dynamic namespace of outputs `labels`'
    for name, kind in (('quarantine', AtomicDatasetData), ('report', orm.Dict)):
        if name not in spec.outputs or not _takes(spec.outputs[name].valid_type, kind):
            return f'{process.__name__}: no output `{name}` of {kind.__name__}'
    return None


def _takes(valid_type: Any, kind: type) -> bool:
    return kind in (valid_type if isinstance(valid_type, tuple) else (valid_type,))


@calcfunction
def select_frames(dataset: AtomicDatasetData, routing: orm.ArrayData) -> AtomicDatasetData:
    """Return the frames that go to the reference, in the order of their rows."""
    return AtomicDatasetData.from_frames(dataset.get_frames().select(routing.get_array('reference')))


@calcfunction
def gather_labels(
    routing: orm.ArrayData, teacher: AtomicDatasetData, report: orm.Dict | None = None, **parts: AtomicDatasetData
) -> AtomicDatasetData:
    """Return all labelled frames in the order of the rows: the teacher's where it was sure, the reference's elsewhere.

    report: of the reference, which labelled ``parts``; its rows count among those it was given.
    """
    sure = routing.get_array('teacher')
    chosen = [teacher.get_frames().select(sure)]
    rows = [sure]
    if report is not None:
        rows.append(routing.get_array('reference')[report['labelled']])
        chosen += [parts[name].get_frames() for name in sorted(parts)]
    order = [int(row) for part in rows for row in part]
    joined = concatenate_frames([part for part in chosen if len(part)])  # no theory of labels that are not there
    if len(joined) != len(order):
        raise ValueError(f'{len(joined)} labels for {len(order)} rows: the report of the reference does not match')
    return AtomicDatasetData.from_frames(joined.select(sorted(range(len(order)), key=order.__getitem__)))
