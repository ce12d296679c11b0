"""Rounds of the root: walkers move side by side, what their halts teach becomes the next potential."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ToContext

from ..explore import ExplorationWorkChain
from ..finetune import atoms_above_call
from ..submission import call_once, find_called
from ..trainers import read_blocks
from . import events
from .endings import Endings
from .learning import KINDS, LearningWorkChain
from .walkers import DONE, READY, WAITING, in_state

LEARNING = 'learning'


class RoundSteps(Endings):
    """Mixin of the root: its steps from the first MD to the last update.

    In ``ctx``: `walkers` by name; `queue`, halts that are to be learnt; `batch`, those that are being learnt; `events`,
    all that was ever queued; `generation`, how often the potential was updated.
    """

    def should_explore(self) -> bool:
        """Return whether a walker has not reached its goal, or a halt is left to be learnt."""
        return bool(self.ctx.queue) or len(in_state(self.ctx.walkers, DONE)) < len(self.ctx.walkers)

    def run_round(self) -> Any:
        """Let every walker that can go on; beside them, when decoupled, learn what halted the others."""
        self.ctx.round += 1
        if not self.ctx.queue:  # then there is nothing to wait for
            self._wake()
        self.ctx.moving = in_state(self.ctx.walkers, READY)
        children = {name: self._start_stretch(name) for name in self.ctx.moving}
        if self._beside() and self.ctx.queue:
            children[LEARNING] = self._start_learning()
        return ToContext(**children)

    def inspect_round(self) -> Any:
        """Take over what was learnt, then note where each walker ended and what halted it."""
        stop = self._take_over() if self.ctx.batch else None
        for name in self.ctx.moving:
            stop = self._note_end(name) or stop
        if stop:
            return stop
        what = self.spent_budget() if self.ctx.queue else None
        return self.stop_at_budget(what) if what else None

    def should_learn(self) -> bool:
        """Return whether halts are to be learnt before any walker goes on."""
        return bool(self.ctx.queue) and not self._beside()

    def run_learning(self) -> Any:
        """Run phases 3 and 4 on the halts of this round."""
        return ToContext(**{LEARNING: self._start_learning()})

    def inspect_learning(self) -> Any:
        """Take over teacher, student and blocks."""
        return self._take_over()

    # walkers ---------------------------------------------------------------------------------------------------------

    def _start_stretch(self, name: str) -> orm.ProcessNode:
        walker = self.ctx.walkers[name]
        inputs = self.stretch_inputs(name, walker)
        words = 'resumes' if walker['restart'] else 'starts'
        new = ' with a new potential' if walker['potential'] not in (None, self.ctx.potential) else ''
        self.report(f'round {self.ctx.round}: MD {self._of(name)}{words}{new}')
        walker.update(
            generation=self.ctx.generation, before=walker['potential'], potential=self.ctx.potential, shaken=False
        )
        return self.submit_phase(ExplorationWorkChain, self._label('explore', name), inputs)

    def _note_end(self, name: str) -> Any:
        """Note where a walker's stretch ended and why; return an exit code when it can neither go on nor teach."""
        walker, child = self.ctx.walkers[name], self.ctx[name]
        if 'summary' in child.outputs:
            summary = child.outputs.summary
            self.ctx.records[self._label('explore', name)] = summary
            last = summary['last_step'] or 0
            walker['walked'] += max(0, last - walker['step'])
            walker['step'] = summary.get('resume_step', last)  # earlier than the last after an unphysical end
            if summary.get('swap'):
                told = {'rejected': summary['outcome'] == 'overshoot'}
                self.ctx.swaps.append({'round': self.ctx.round, 'walker': name, **summary['swap'], **told})
        if child.exit_status == ExplorationWorkChain.exit_codes.ERROR_SWAP_REJECTED.status:
            return self._reject_update(name, child)
        if not child.is_finished_ok:
            return self.stop_at_md(child)
        outcome = child.outputs.outcome.value
        walker['restart'] = child.outputs.restart
        self.report(f'round {self.ctx.round}: MD {self._of(name)}ended at step {summary["last_step"]}: {outcome}')
        if outcome == 'goal':
            walker['state'] = DONE
        return None if outcome in ('goal', 'stride') else self._judge_halt(name, child)

    def _reject_update(self, name: str, child: orm.ProcessNode) -> None:
        """Send the walker back before the swap; the old potential is kept, unless a newer one is there already."""
        walker, used = self.ctx.walkers[name], self.ctx.walkers[name]['potential']
        self.report(f'MD {self._of(name)}rejects ACE<{used.pk}>: {child.exit_message}')
        walker.update(restart=child.outputs.restart, potential=walker['before'])
        if used == self.ctx.potential and self.ctx.previous is not None:
            self.ctx.update(self.ctx.previous)
            self.ctx.generation += 1  # what was learnt by the rejected one is not known
            self.report(f'ACE<{self.ctx.potential.pk}> is kept; what halts MD again is cut out differently')

    def _judge_halt(self, name: str, child: orm.ProcessNode) -> Any:
        """Queue a halt, unless its labels are pending or came while it walked; return an exit code at a dead end."""
        walker, outputs = self.ctx.walkers[name], child.outputs
        label = self._label('event', name)
        halt = call_once(self, label, events.describe_halt, outputs.frames, outputs.summary, self._thresholds())
        halt = halt.get_dict()
        known = events.find_event(self.ctx.events, halt['fingerprint'])
        walker['state'] = WAITING
        if known is not None and self._is_bought(known, walker['generation']):
            return self._pass_over(name, known)
        if known is None:
            known = len(self.ctx.events)
            self.ctx.events.append(events.new_event(halt))
        strategy = self.read_settings('strategy')
        walked = {each: other['walked'] for each, other in self.ctx.walkers.items()}
        level = events.count_halt(self.ctx.events[known], name, walked, strategy)
        stop = self._queue_at(known, level, {
            'walker': name, 'round': self.ctx.round, 'frames': outputs.frames, 'summary': outputs.summary
        })  # fmt: skip
        if stop is None and strategy.halted_walker == 'roll_back':
            self._roll_back(name, child)
        return stop

    def _is_bought(self, number: int, generation: int) -> bool:
        """Return whether an event is pending, or was learnt after the walker had set out."""
        learnt = self.ctx.events[number]['learnt']
        return learnt is None or learnt > generation

    def _pass_over(self, name: str, number: int) -> None:
        """Buy nothing: the labels of this event are pending, or there already."""
        pending = self.ctx.events[number]['learnt'] is None
        self.ctx.walkers[name]['state'] = WAITING if pending else READY
        words = 'whose labels are pending' if pending else 'that the new potential knows'
        self.report(f'{name} met event {number + 1}, {words}: nothing is bought')
        self.ctx.passed_over.append({'round': self.ctx.round, 'walker': name, 'event': number + 1})

    def _queue_at(self, number: int, level: int, halt: dict[str, Any]) -> Any:
        """Queue a halt on event ``number`` for a cutout of this level; return an exit code when there is none left."""
        event, settings = self.ctx.events[number], self.read_settings('cutout')
        level = events.skip_impossible(level, halt['summary']['n_atoms'], settings)
        if level > events.AS_SET:
            words = events.LEVELS[level]
            self.report(f'event {number + 1}, met {event["count"]} times: next is {words}')
            self.ctx.escalations.append(
                {'round': halt['round'], 'walker': halt['walker'], 'event': number + 1, 'step': words}
            )
        if level == events.GIVE_UP:
            self.attach()
            where = {'count': event['count'], 'step': event['step'], 'atom': event['atom']}
            return self.exit_codes.EVENT_NOT_LEARNT.format(event=number + 1, **where)
        changed = events.escalate(settings, level, self.inputs.elements.get_list())
        cutout = None if changed is None else changed.model_dump()
        self.ctx.queue.append({**halt, 'event': number, 'met': event['count'], 'level': level, 'cutout': cutout})
        return None

    def _roll_back(self, name: str, child: orm.ProcessNode) -> None:
        """Send a halted walker back before its excursion; other random forces lead it elsewhere."""
        md = find_called(child, 'md')
        if md is None or 'restart_previous' not in md.outputs:
            self.report(f'{name} waits: it left no restart file before its excursion')
            return
        walker = self.ctx.walkers[name]
        step = md.outputs.summary['restart_previous_step']
        walker.update(restart=md.outputs.restart_previous, step=step, shaken=True, state=READY)
        self.report(f'{name} goes back to step {step} while its labels are computed')

    # learning --------------------------------------------------------------------------------------------------------

    def _start_learning(self) -> orm.ProcessNode:
        """Learn everything in the queue."""
        self.ctx.batch, self.ctx.queue = self.ctx.queue, []
        self.ctx.lessons += 1
        names = ', '.join(halt['walker'] for halt in self.ctx.batch)
        self.report(f'phases 3 and 4 on the halts of {names}; {self.ctx.spent} SCFs spent so far')
        return self.submit_phase(LearningWorkChain, self._learning_label(), self.learning_inputs(self.ctx.batch))

    def _take_over(self) -> Any:
        """Book what was paid, take over the new generation, and let those who waited for it go on."""
        child, batch = self.ctx[LEARNING], self.ctx.batch
        self.ctx.batch = []
        self._book(child, batch)
        if 'label_datasets' in child.outputs:
            self.ctx.label_datasets = {**self.ctx.label_datasets, **child.outputs.label_datasets}
        if not child.is_finished_ok:
            return self._stop_at_learning(child, batch)
        self.ctx.previous = {name: self.ctx[name] for name in ('potential', 'teacher', 'blocks', 'rows')}
        self.ctx.teacher, self.ctx.potential = child.outputs.teacher, child.outputs.potential
        self.ctx.blocks, self.ctx.rows = read_blocks(child.outputs)
        self.ctx.records[f'round_{batch[0]["round"]:02d}_finetune'] = child.outputs.metrics
        self.ctx.generation += 1
        for halt in batch:
            self.ctx.events[halt['event']]['learnt'] = self.ctx.generation
        self._note_stubborn(child, batch)
        self._wake()
        return None

    def _wake(self) -> None:
        """Let everyone who waited for labels go on."""
        for name in in_state(self.ctx.walkers, WAITING):
            self.ctx.walkers[name]['state'] = READY

    def _book(self, child: orm.ProcessNode, batch: list[dict[str, Any]]) -> None:
        """Count what was paid, labels or not; what was cut out beside an epicentre belongs to its event."""
        reports = child.outputs.reports if 'reports' in child.outputs else {}
        for halt in batch:
            if halt['walker'] not in reports:
                continue
            report = reports[halt['walker']]
            self.ctx.spent += report['n_scf']
            self.ctx.records[self._label('cutout', halt['walker'], halt['round'])] = report
            rows = report.get_dict().get('epicentres', [])
            self.ctx.events[halt['event']]['fingerprints'] += [
                row['fingerprint'] for row in rows if 'fingerprint' in row
            ]

    def _note_stubborn(self, child: orm.ProcessNode, batch: list[dict[str, Any]]) -> None:
        """Count events once more whose own core atoms are still above the call threshold after the update."""
        for halt in batch:
            number = f'{halt["round"]:02d}'
            names = [f'{kind}{name}' for kind in KINDS.values() for name in (number, f'{number}_{halt["walker"]}')]
            above = sum(atoms_above_call(child.outputs.metrics, names).values())
            if above:
                self.ctx.events[halt['event']]['count'] += 1
                self.report(
                    f'event {halt["event"] + 1}: {above} trained core atoms are still above the call threshold; it '
                    'counts as met again'
                )

    def _stop_at_learning(self, child: orm.ProcessNode, batch: list[dict[str, Any]]) -> Any:
        """Return the exit code of a failed phase 3 or 4."""
        if child.exit_status == LearningWorkChain.exit_codes.ERROR_SUB_PROCESS_FAILED_FINETUNE.status:
            return self.give_up(child, self.exit_codes.ERROR_SUB_PROCESS_FAILED_FINETUNE)
        if self.spent_budget():
            return self.stop_without_label(child)
        self.report(f'no label: {child.exit_message}')
        levels = [self._next_level(halt) for halt in batch]
        if events.GIVE_UP in levels:
            return self.stop_without_label(child)
        for halt, level in zip(batch, levels, strict=True):
            self.ctx.events[halt['event']]['count'] += 1
            self._queue_at(halt['event'], level, {**halt, 'round': self.ctx.round + 1})
        return None

    def _next_level(self, halt: dict[str, Any]) -> int:
        """Return the level of the cutout that comes after one without a label."""
        return events.skip_impossible(halt['level'] + 1, halt['summary']['n_atoms'], self.read_settings('cutout'))

    # words -----------------------------------------------------------------------------------------------------------

    def _beside(self) -> bool:
        return bool(self.read_settings('strategy').decoupled)

    def _of(self, name: str) -> str:
        return '' if len(self.ctx.walkers) == 1 else f'of {name} '

    def _label(self, step: str, walker: str, number: int | None = None) -> str:
        base = f'round_{self.ctx.round if number is None else number:02d}_{step}'
        return base if len(self.ctx.walkers) == 1 else f'{base}_{walker}'

    def _learning_label(self) -> str:
        return f'round_{self.ctx.batch[0]["round"]:02d}_learn'
