"""Steps that may run twice: a child is submitted once, its random choices follow from the root's seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import Process, ProcessState, ToContext, append_
from aiida.manage.configuration import get_config, get_profile

STILLBORN = 'set aside: the step that made it was killed before it could be run'


class SubmitOnce:
    """Mixin of our WorkChains: a step looks for its own called child before it submits one.

    A worker that is killed between ``submit`` and the end of the step runs the step again; without this it would
    leave two children under one link label.
    """

    def submit_once(
        self, link_label: str, process: type[Process], inputs: Mapping[str, Any] | Callable[[], Mapping[str, Any]]
    ) -> orm.ProcessNode:
        """Return the child called under ``link_label``, submitting it when there is none.

        inputs: a mapping, or what makes it where that is dear.
        """
        called = adopt_called(self, link_label)
        if called is not None:
            return called
        child = drop_missing(inputs() if callable(inputs) else inputs)
        child['metadata'] = {**child.get('metadata', {}), 'call_link_label': link_label}
        submitted: orm.ProcessNode = self.submit(process, **child)  # type: ignore[attr-defined]
        return submitted

    def update_outputs(self) -> None:
        """Attach new outputs; as long as there are none, the database is not asked at every change of state."""
        if self.outputs:  # type: ignore[attr-defined]
            super().update_outputs()  # type: ignore[misc]


class RestartOnce(SubmitOnce):
    """Mixin of our restarting WorkChains, before ``BaseRestartWorkChain``: an iteration is submitted once."""

    def run_process(self) -> Any:
        """Run the process with the inputs as they are now; adopt a run that a killed worker had submitted."""
        chain: Any = self
        called = adopt_called(chain, f'iteration_{chain.ctx.iteration + 1:02d}')
        if called is None:
            return super().run_process()  # type: ignore[misc]
        chain.ctx.iteration += 1
        considered = chain.node.base.extras.get(chain._considered_handlers_extra, [])
        if len(considered) < chain.ctx.iteration:  # it was killed before it had made room for its handlers
            chain.node.base.extras.set(chain._considered_handlers_extra, [*considered, []])
        return ToContext(children=append_(called))

    def _attach_outputs(self, node: orm.ProcessNode) -> Mapping[str, orm.Node]:
        """Attach also what a killed worker had linked: the checkpoint that is gone on from knows nothing of it."""
        chain: Any = self
        outputs: Mapping[str, orm.Node] = super()._attach_outputs(node)  # type: ignore[misc]
        for name in set(chain.spec().outputs) & set(outputs) - set(chain.outputs):
            chain.out(name, outputs[name])
        return outputs


def call_once(work_chain: Any, link_label: str, function: Any, *nodes: orm.Data, **named: orm.Data) -> Any:
    """Return what ``work_chain`` got from ``function`` under ``link_label``, calling it when it has not yet."""
    called = find_called(work_chain.node, link_label)
    if called is not None and called.is_finished_ok:
        return called.outputs.result
    return function(*nodes, **named, metadata={'call_link_label': link_label})


def call_for_output(work_chain: Any, link_label: str, output: str, function: Any, *nodes: orm.Data) -> Any:
    """Return one of many outputs that ``work_chain`` got from ``function``; the others stay unread."""
    called = find_called(work_chain.node, link_label)
    if called is not None and called.is_finished_ok:
        links = called.base.links.get_outgoing(link_type=LinkType.CREATE, link_label_filter=_escape(output))
        return links.one().node
    return function(*nodes, metadata={'call_link_label': link_label})[output]


def adopt_called(work_chain: Any, link_label: str) -> orm.ProcessNode | None:
    """Return what a step of ``work_chain`` that was killed had called under ``link_label``, and see that it runs.

    Between storing a child and telling the broker of it a step can die as well: a child that nobody was told of is
    sent on its way, and one without a checkpoint, which nobody could run, is set aside as killed.
    """
    called = find_called(work_chain.node, link_label)
    if called is None:
        return None
    if called.process_state in (None, ProcessState.CREATED) and work_chain.runner.is_daemon_runner:
        if called.checkpoint is None:
            called.set_process_status(STILLBORN)
            called.set_process_state(ProcessState.KILLED)
            called.seal()
            return None
        if is_queued(called.pk) is False:
            work_chain.runner.controller.continue_process(called.pk, nowait=False, no_reply=True)
    work_chain.report(f'adopting {called.process_label}<{called.pk}> as {link_label!r}')
    return called


def is_queued(pk: int) -> bool | None:
    """Return whether the ZeroMQ broker of the profile holds a task of process ``pk``; ``None`` for other brokers."""
    folder = get_config().filepaths(get_profile()).get('broker_service', {}).get('dir')
    tasks = Path(folder or '') / 'storage' / 'tasks'
    if not folder or not tasks.is_dir():
        return None
    # a task goes from pending to processing, and back when its worker dies: in this order no move hides it
    states = ('pending', 'processing', 'pending')
    return any(_task_pid(path) == pk for state in states for path in (tasks / state).glob('*.json'))


def _task_pid(path: Path) -> int | None:
    try:
        found: int | None = json.loads(path.read_text())['body']['args']['pid']
    except (OSError, ValueError, KeyError, TypeError):  # a task of another kind, or one that was just done
        return None
    return found


def find_called(node: orm.ProcessNode, link_label: str) -> orm.ProcessNode | None:
    """Return the process that ``node`` called under ``link_label``, or ``None``."""
    links = node.base.links.get_outgoing(
        link_type=(LinkType.CALL_CALC, LinkType.CALL_WORK), link_label_filter=_escape(link_label)
    )
    found = [link.node for link in links.all() if link.link_label == link_label]
    found = [called for called in found if called.process_status != STILLBORN]
    return max(found, key=lambda called: bool(called.is_finished_ok), default=None)  # a repeat over what was killed


def derived_seed(root: int, *names: str) -> int:
    """Return a seed in [0, 2^31) that depends on ``root`` and ``names`` only (sha256), the same on every machine."""
    digest = hashlib.sha256('/'.join((str(int(root)), *names)).encode()).digest()
    return int.from_bytes(digest[:4], 'little') >> 1


def drop_missing(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``inputs`` as plain dictionaries without values that are ``None``."""
    return {
        key: drop_missing(value) if isinstance(value, Mapping) and not isinstance(value, orm.Node) else value
        for key, value in inputs.items()
        if value is not None
    }


def _escape(label: str) -> str:
    """Return ``label`` for an SQL LIKE filter."""
    return label.replace('\\', '\\\\').replace('_', '\\_').replace('%', '\\%')
