"""A task that was killed is run again and takes up the pieces that it had finished."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import CalcJob, ToContext

from ..ports import TaskSteps

MAX_RESUMES = 3
RESUMED = '_resumed_'


class ResumeSteps(TaskSteps):
    """Mixin: a step awaits its tasks by :meth:`await_tasks`; ``while_(was_killed)(run_killed_again)`` follows it."""

    def await_tasks(self, children: Mapping[str, orm.ProcessNode]) -> Any:
        """Return what a step returns to await ``children`` by their name in the context, and count no resumes yet."""
        ctx: Any = self.ctx  # type: ignore[attr-defined]
        ctx.awaited, ctx.n_resumes = list(children), 0
        return ToContext(**children)

    def was_killed(self) -> bool:
        """Return whether an awaited task was killed or ran out of time, and may be resumed once more."""
        ctx: Any = self.ctx  # type: ignore[attr-defined]
        return ctx.n_resumes < MAX_RESUMES and any(is_killed(ctx[name]) for name in ctx.awaited)

    def run_killed_again(self) -> Any:
        """Submit each awaited task that was killed with the same inputs and the folder that it left."""
        ctx: Any = self.ctx  # type: ignore[attr-defined]
        ctx.n_resumes += 1
        children = {}
        for name in ctx.awaited:
            killed = ctx[name]
            if not is_killed(killed):
                continue
            inputs = killed.get_builder_restart()._inputs(prune=True)
            inputs['unfinished'] = killed.outputs.remote_folder
            label = f'{own_label(killed)}{RESUMED}{ctx.n_resumes}'
            children[name] = self.submit_once(label, killed.process_class, inputs)
            self.report(f'{name} <{killed.pk}> was killed; <{children[name].pk}> takes up what it had finished')  # type: ignore[attr-defined]
        return ToContext(**children)


def is_killed(task: orm.CalcJobNode) -> bool:
    """Return whether the program of a task was ended by something else than itself, and had begun."""
    process: type[CalcJob] = task.process_class
    codes = process.exit_codes
    ends = (codes.ERROR_NO_RESULT, codes.ERROR_SCHEDULER_OUT_OF_WALLTIME, codes.ERROR_SCHEDULER_NODE_FAILURE)
    return 'remote_folder' in task.outputs and task.exit_status in [code.status for code in ends]


def own_label(task: orm.CalcJobNode) -> str:
    """Return the link label of the step that first submitted a task, whichever resumption it is."""
    label: str = task.base.links.get_incoming(link_type=LinkType.CALL_CALC).one().link_label
    return label.split(RESUMED)[0]
