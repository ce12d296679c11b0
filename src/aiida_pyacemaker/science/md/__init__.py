"""MD by LAMMPS: the script of a segment, the halting rule, ``pyacemaker-lmp``, and readers of what a run leaves."""

from .checks import check_baseline, check_box, check_intervals, check_wall_limit, judge_canary
from .dump import Snapshot, read_dump, read_restart_step, to_frames
from .halting import Halt, choose_learning_frame, find_excursion, find_halt, is_physical
from .log import LogRecord, read_checks, read_log, read_thermo
from .script import Plan, Segment, write_script, write_structure
from .segment import SegmentRecord, read_segment

__all__ = [
    'Halt',
    'LogRecord',
    'Plan',
    'Segment',
    'SegmentRecord',
    'Snapshot',
    'check_baseline',
    'check_box',
    'check_intervals',
    'check_wall_limit',
    'choose_learning_frame',
    'find_excursion',
    'find_halt',
    'is_physical',
    'judge_canary',
    'read_checks',
    'read_dump',
    'read_log',
    'read_restart_step',
    'read_segment',
    'read_thermo',
    'to_frames',
    'write_script',
    'write_structure',
]
