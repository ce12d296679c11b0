"""One lane of SCF runs: its frames one after the other."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from aiida import orm
from aiida.engine import ToContext, WorkChain, while_

from ...calculations.scf_monitor import ENTRY_POINT
from ...science.config import DftConfig
from ...science.dft.pseudo_hydrogen import pseudo_hosts
from ...science.frames import Frames
from ..submission import SubmitOnce, call_for_output, find_called
from .cleaning import clean_frame
from .collect import frame_structures
from .ladder import MAX_RUNS
from .ports import add_scf_ports
from .pw_inputs import request_key
from .pw_label import PwLabelWorkChain
from .reuse import find_twin
from .scf_inputs import ScfRequest, find_cutoffs, make_request, pw_options, stop_in_time
from .spending import Budget, count_allowed_runs, list_frames

BATCH = 100  # structures made by one process
MOST_SHARED = 20  # nodes that frames of a lane are remembered to have in common
POLLS = 20  # looks of the monitor within the time after which it gives a run up


def frame_label(row: int) -> str:
    """Return the link label of the SCF of frame ``row``."""
    return f'frame_{row:04d}'


class DftLaneWorkChain(SubmitOnce, WorkChain):
    """Run the SCFs of some frames one by one, while the budget that the sibling lanes share is not spent."""

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports, outline and exit codes."""
        super().define(spec)
        add_scf_ports(spec)
        spec.input('rows', valid_type=orm.List, help='Rows of the dataset, in the order in which they are run.')
        spec.input(
            'n_sharing', valid_type=orm.Int, required=False, help='Frames of all lanes that share the budget of runs.'
        )
        spec.outline(cls.setup, while_(cls.should_run_frame)(cls.run_frame))

    def setup(self) -> Any:
        """Find the cut-offs."""
        self.ctx.left = self.inputs.rows.get_list()
        self.ctx.row = None
        self.ctx.shared = {}
        self.ctx.cutoffs = find_cutoffs(self._dft(), self.inputs.pw.pseudos)
        return None if self.ctx.cutoffs else self.exit_codes.ERROR_NO_CUTOFFS

    def should_run_frame(self) -> bool:
        """Have done with the last frame; say whether another is left and can be paid for."""
        if self.ctx.row is not None:
            self._finish_frame(self.ctx.row)
        self.ctx.row, self.ctx.awaited = self._choose_frame()
        if self.ctx.row is None:
            return self.ctx.awaited is not None
        budget = Budget.from_inputs(self.inputs)
        if budget == Budget() or find_called(self.node, frame_label(self.ctx.row)) is not None:
            return True
        spent = budget.why_not(self._root(), self._request(self.ctx.row).work)
        if spent:
            self.report(f'{spent}, {[self.ctx.row, *self.ctx.left]} not run')
        return spent is None

    def run_frame(self) -> Any:
        """Submit the SCF of the next frame, or adopt it; or wait for that of another labelling."""
        row = self.ctx.row
        if row is None:
            return ToContext(child=orm.load_node(self.ctx.awaited))
        label = frame_label(row)
        return ToContext(child=self.submit_once(label, PwLabelWorkChain, lambda: self._frame_inputs(row)))

    def _choose_frame(self) -> tuple[int | None, int | None]:
        """Take the first frame that nobody else is at off the list; return its row, else the pk of whom to wait for.

        What another labelling has labelled meanwhile is taken off as well: the parent finds it. Only SCFs are waited
        for, which wait for nobody, so that two labellings never wait for each other.
        """
        awaited = None
        for row in list(self.ctx.left):
            twin = self._find_twin(row)
            if twin is not None and not twin.is_terminated:
                awaited = awaited or twin.pk
                continue
            self.ctx.left.remove(row)
            if twin is None:
                return row, None
            self.report(f'frame {row} was labelled meanwhile by {twin.process_label}<{twin.pk}>')
        if awaited is not None:
            self.report(f'waiting for PwLabelWorkChain<{awaited}> of another labelling, which is at the same frame')
        return None, awaited

    def _find_twin(self, row: int) -> orm.WorkChainNode | None:
        dft = self._dft()
        if not dft.reuse_labels or find_called(self.node, frame_label(row)) is not None:
            return None
        return find_twin(request_key(self._request(row)), self.inputs.pw.code, dft.stuck_after_s)

    def _finish_frame(self, row: int) -> None:
        """Note a failure and go on: what failed is collected by the parent. Nobody needs the densities any more."""
        child = self.ctx.child
        if not child.is_finished_ok:
            self.report(f'frame {row} failed: {child.exit_message or child.process_state}')
        clean_frame(child, self._dft().clean_workdir)

    def _frame_inputs(self, row: int) -> dict[str, Any]:
        request, options = self._request(row), pw_options(self.inputs.options)
        pw: dict[str, Any] = {
            'code': self.inputs.pw.code,
            'structure': self._structure(row),
            'pseudos': request.pseudos,
            'parameters': self._share(orm.Dict, stop_in_time(request.parameters, options)),
            'metadata': {'options': options},
            'monitors': {'scf_stuck': self._share(orm.Dict, self._monitor())},
        }
        if not request.atoms.pbc.any():
            pw['settings'] = self._share(orm.Dict, {'GAMMA_ONLY': True})
        n_runs = MAX_RUNS
        if 'max_calls' in self.inputs:
            n_sharing = self.inputs.get('n_sharing', orm.Int(len(self.inputs.rows.get_list()))).value
            n_runs = count_allowed_runs(list_frames(self._root()), n_sharing, self.inputs.max_calls.value)
        return {
            'pw': pw,
            'kpoints': self._share(orm.KpointsData, list(request.mesh)),
            'max_iterations': self._share(orm.Int, n_runs),
            'clean_workdir': self._share(orm.Bool, False),
            'metadata': {'label': request_key(request)},  # from its first moment on other labellings find it by this
        }

    def _structure(self, row: int) -> orm.StructureData:
        """Return the structure of a frame, made together with those that follow in this lane."""
        number = self.inputs.rows.get_list().index(row) // BATCH
        rows = orm.List(self.inputs.rows.get_list()[number * BATCH : (number + 1) * BATCH])
        hosts = pseudo_hosts(self.inputs.pw.pseudos)
        nodes = (self.inputs.dataset, rows, orm.Float(self._dft().vacuum), *([orm.List(list(hosts))] if hosts else []))
        return call_for_output(self, f'structures_{number:03d}', f'row_{row}', frame_structures, *nodes)

    def _share(self, kind: Any, content: Any) -> orm.Data:
        """Return a node of ``content`` that the frames of this lane have in common: a run makes no node twice."""
        name = f'{kind.__name__} {json.dumps(content, sort_keys=True)}'
        if name not in self.ctx.shared:
            node = kind() if kind is orm.KpointsData else kind(content)
            if kind is orm.KpointsData:
                node.set_kpoints_mesh(content)
            newest = list(self.ctx.shared.items())[1 - MOST_SHARED :]  # it is part of every checkpoint
            self.ctx.shared = {**dict(newest), name: node.store().pk}
        return orm.load_node(self.ctx.shared[name])

    def _monitor(self) -> dict[str, Any]:
        stuck_after_s = self._dft().stuck_after_s
        interval = max(1, round(stuck_after_s / POLLS))
        return {
            'entry_point': ENTRY_POINT,
            'minimum_poll_interval': interval,
            'kwargs': {'stuck_after_s': stuck_after_s},
        }

    def _request(self, row: int) -> ScfRequest:
        overrides = self.inputs.pw.parameters.get_dict() if 'parameters' in self.inputs.pw else None
        frame = self._frames.select([row])
        return make_request(frame, self._dft(), self.ctx.cutoffs, self.inputs.pw.pseudos, overrides)

    @cached_property
    def _frames(self) -> Frames:
        """The dataset, read once in the life of a worker."""
        return self.inputs.dataset.get_frames()

    def _root(self) -> orm.WorkChainNode:
        return self.node.caller or self.node

    def _dft(self) -> DftConfig:
        return DftConfig.model_validate(self.inputs.dft.get_dict())
