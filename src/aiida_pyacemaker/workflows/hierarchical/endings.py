"""How a run of the root ends: with its goal, a spent budget or a failed child, always with the best there is."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import Process

from ..explore import ExplorationWorkChain
from ..submission import call_once
from .phases import PhaseInputs
from .summary import in_parts, summarise_loop


class Endings(PhaseInputs):
    """Mixin of the root: submit a phase, attach what there is, say why the run ends."""

    exit_codes: Any
    report: Any
    out: Any

    def submit_phase(self, process: type[Process], label: str, inputs: dict[str, Any]) -> orm.ProcessNode:
        """Return the child called under ``label``, with the scheduler options of the root."""
        return self.submit_once(label, process, {'options': self.inputs.options, **inputs})

    def spent_budget(self) -> str | None:
        """Return which budget leaves nothing for another round of learning, or ``None``."""
        budget = self.read_budget()
        if self.ctx.spent >= budget.max_dft_calls:
            return f'the budget of {budget.max_dft_calls} DFT calls'
        if self.ctx.lessons >= budget.max_rounds:
            return f'the budget of {budget.max_rounds} rounds'
        return None

    def stop_at_budget(self, what: str) -> Any:
        """Return the exit code of a spent budget."""
        self.attach()
        return self.exit_codes.BUDGET_SPENT.format(what=what)

    def stop_at_md(self, child: orm.ProcessNode) -> Any:
        """Return the exit code of an MD that neither halted nor reached its goal."""
        if child.exit_status == ExplorationWorkChain.exit_codes.SEGMENTS_SPENT.status:
            what = f'the budget of {self.read_budget().max_segments} MD segments'
            return self.give_up(child, self.exit_codes.BUDGET_SPENT.format(what=what))
        return self.give_up(child, self.exit_codes.ERROR_SUB_PROCESS_FAILED_EXPLORATION)

    def stop_without_label(self, child: orm.ProcessNode) -> Any:
        """Return the exit code of a phase 3 that gave no label: the budget's, where that is why."""
        what = self.spent_budget()
        code = self.exit_codes.ERROR_SUB_PROCESS_FAILED_CUTOUT
        return self.give_up(child, self.exit_codes.BUDGET_SPENT.format(what=what) if what else code)

    def give_up(self, child: orm.ProcessNode, code: Any) -> Any:
        """Say what the child said, attach the best there is, return ``code``."""
        said = child.exit_message or child.process_state.value
        self.report(f'{child.process_label}<{child.pk}> failed: {said}')
        self.attach()
        return code

    def attach(self) -> None:
        """Attach the best there is, so that a run that stops early is usable."""
        if 'potential' not in self.ctx:
            return
        for name in ('potential', 'teacher', 'blocks', 'rows'):
            self.out(name, self.ctx[name])
        self.out('summary', self._summarise())

    def _summarise(self) -> orm.Dict:
        """Return the summary; of many records several are made, the last of all."""
        walkers = {
            name: {'state': walker['state'], 'step': walker['step'], 'goal': walker['goal']}
            for name, walker in self.ctx.walkers.items()
        }
        events = [{name: event[name] for name in ('step', 'atom', 'count')} for event in self.ctx.events]
        told = {name: self.ctx[name] for name in ('escalations', 'passed_over', 'swaps')}
        notes = orm.Dict({'n_rounds': self.ctx.round, 'walkers': walkers, 'events': events, **told})
        *parts, last = in_parts(self.ctx.records)
        earlier: dict[str, Any] = {}
        for number, records in enumerate(parts, start=1):
            sums = call_once(self, f'summarise_{number:02d}', summarise_loop, notes, **earlier, **records)
            earlier = {'earlier': sums}
        summary: orm.Dict = call_once(self, 'summarise', summarise_loop, notes, **earlier, **last)
        return summary
