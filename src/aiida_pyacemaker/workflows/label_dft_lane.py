"""One lane of SCF runs: its frames one after the other."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ToContext, WorkChain, while_
from aiida_pseudo.data.pseudo import PseudoPotentialData

from ..data.dataset import AtomicDatasetData
from ..science.config import DftConfig
from .input_checks import settings_validator, validate_pw_parameters
from .labels import call_once, frame_structure
from .protocol import DEFAULT_OPTIONS
from .pw_label import LADDER, PwLabelWorkChain
from .scf_inputs import find_cutoffs, kpoint_inputs, pw_options, scf_parameters
from .submission import SubmitOnce, find_called

PW_LABEL_TYPE = PwLabelWorkChain.build_process_type()
RUNS_PER_FRAME = len(LADDER) + 3  # what the ladder takes at most


def frame_label(row: int) -> str:
    """Return the link label of the SCF of frame ``row``."""
    return f'frame_{row:04d}'


def add_pw_ports(spec: Any) -> None:
    """Declare the namespace `pw`: the same in everything that comes to run an SCF."""
    spec.input_namespace('pw', help='The `pw.x` program, its pseudopotentials and overrides of its input.')
    spec.input('pw.code', valid_type=orm.AbstractCode, help='The `pw.x` program.')
    spec.input_namespace(
        'pw.pseudos', valid_type=PseudoPotentialData, dynamic=True, help='A UPF pseudopotential for every element.'
    )
    spec.input(
        'pw.parameters',
        valid_type=orm.Dict,
        required=False,
        validator=validate_pw_parameters,
        help='Namelists that override those of the settings.',
    )


def add_scf_ports(spec: Any) -> None:
    """Declare what an SCF of a frame is made of, but for the frame."""
    spec.input('dataset', valid_type=AtomicDatasetData, help='The frames to label.')
    add_pw_ports(spec)
    spec.input(
        'dft',
        valid_type=orm.Dict,
        default=lambda: orm.Dict({}),
        validator=settings_validator(DftConfig, 'dft'),
        help='Settings, see `DftConfig`.',
    )
    spec.input(
        'max_calls', valid_type=orm.Int, required=False, help='SCF runs that may be paid for; default: no limit.'
    )
    spec.input(
        'options',
        valid_type=dict,
        non_db=True,
        default=lambda: dict(DEFAULT_OPTIONS),
        help='Scheduler options of every SCF.',
    )


def count_scf_runs(node: orm.WorkChainNode) -> int:
    """Return how many SCF runs a ``DftLabelWorkChain`` has paid for, each frame in progress counting at least once."""
    return sum(_count_runs(frame) or int(not frame.is_terminated) for frame in _started_frames(node))


def count_allowed_runs(node: orm.WorkChainNode, n_frames: int, max_calls: int) -> int:
    """Return how many SCF runs the next frame below ``node`` may take, retries included: at least 1.

    Every frame that the budget covers has one run of its own; retries share what is left over, less what finished
    frames took of it and what frames in progress may still take. So lanes that climb the ladder side by side never
    spend more than ``max_calls`` together.
    """
    taken = sum(
        max(_count_runs(frame), 1) - 1 if frame.is_terminated else frame.inputs.max_iterations.value - 1
        for frame in _started_frames(node)
    )
    spare = max_calls - min(n_frames, max_calls) - taken
    return 1 + max(0, min(RUNS_PER_FRAME - 1, spare))


def _started_frames(node: orm.WorkChainNode) -> list[orm.WorkChainNode]:
    return [child for child in node.called_descendants if child.process_type == PW_LABEL_TYPE]


def _count_runs(frame: orm.WorkChainNode) -> int:
    return sum(isinstance(child, orm.CalcJobNode) for child in frame.called)


class DftLaneWorkChain(SubmitOnce, WorkChain):
    """Run the SCFs of some frames one by one, while the budget that the sibling lanes share is not spent."""

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports, outline and exit codes."""
        super().define(spec)
        add_scf_ports(spec)
        spec.input('rows', valid_type=orm.List, help='Rows of the dataset, in the order in which they are run.')
        spec.outline(cls.setup, while_(cls.should_run_frame)(cls.run_frame, cls.inspect_frame))
        spec.exit_code(
            203, 'ERROR_NO_CUTOFFS', message='No cut-offs: give dft.ecutwfc (Ry) or install a family with them.'
        )

    def setup(self) -> Any:
        """Find the cut-offs."""
        self.ctx.position = 0
        self.ctx.cutoffs = find_cutoffs(self._dft(), self.inputs.pw.pseudos)
        return None if self.ctx.cutoffs else self.exit_codes.ERROR_NO_CUTOFFS

    def should_run_frame(self) -> bool:
        """Say whether a frame is left and can be paid for."""
        rows = self.inputs.rows.get_list()
        if self.ctx.position >= len(rows):
            return False
        if self._calls_left() < 1 and not self._is_called(rows[self.ctx.position]):
            self.report(
                f'the budget of {self.inputs.max_calls.value} SCF runs is spent, {rows[self.ctx.position :]} not run'
            )
            return False
        return True

    def run_frame(self) -> Any:
        """Submit the SCF of the next frame."""
        row = self.inputs.rows.get_list()[self.ctx.position]
        atoms = self.inputs.dataset[row].atoms(0)
        kpoints, _ = kpoint_inputs(atoms, self._dft())
        overrides = self.inputs.pw.parameters.get_dict() if 'parameters' in self.inputs.pw else None
        elements = sorted(set(atoms.get_chemical_symbols()))
        pw: dict[str, Any] = {
            'code': self.inputs.pw.code,
            'pseudos': {element: self.inputs.pw.pseudos[element] for element in elements},
            'parameters': orm.Dict(scf_parameters(atoms, self._dft(), self.ctx.cutoffs, overrides)),
            'metadata': {'options': pw_options(self.inputs.options)},
        }
        if not atoms.pbc.any():
            pw['settings'] = orm.Dict({'GAMMA_ONLY': True})
        if not self._is_called(row):
            label = f'structure_{row:04d}'
            pw['structure'] = call_once(self, label, frame_structure, self.inputs.dataset, orm.Int(row))
        inputs: dict[str, Any] = {'pw': pw, **kpoints}
        if 'max_calls' in self.inputs:
            budget = (len(self.inputs.dataset), self.inputs.max_calls.value)
            inputs['max_iterations'] = orm.Int(count_allowed_runs(self.node.caller or self.node, *budget))
        return ToContext(child=self.submit_once(frame_label(row), PwLabelWorkChain, inputs))

    def inspect_frame(self) -> None:
        """Note a failure and go on: what failed is collected by the parent."""
        row = self.inputs.rows.get_list()[self.ctx.position]
        if not self.ctx.child.is_finished_ok:
            self.report(f'frame {row} failed: {self.ctx.child.exit_message or self.ctx.child.process_state}')
        self.ctx.position += 1

    def _dft(self) -> DftConfig:
        return DftConfig.model_validate(self.inputs.dft.get_dict())

    def _calls_left(self) -> int:
        if 'max_calls' not in self.inputs:
            return 1
        return int(self.inputs.max_calls.value) - count_scf_runs(self.node.caller or self.node)

    def _is_called(self, row: int) -> bool:
        return find_called(self.node, frame_label(row)) is not None
