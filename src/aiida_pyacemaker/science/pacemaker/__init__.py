"""pacemaker as a trainer: its input and data set out, its log, metrics and potentials in."""

from .fitted import describe_fit, make_student, write_student
from .input_file import DATA_FILE, INPUT_FILE, START_FILE, input_document, write_input
from .learning_set import LearningSet, Source, adopt_zero, drop_close_atoms, make_learning_set
from .log import LOG_FILE, METRICS_FILE, OUTPUT_FILE, LogRecord, read_log, read_metrics
from .loss import refuse_stress
from .potentials import read_fitted, write_start
from .reference import Reference, fit_reference, inner_geometry
from .replay import draw_replay

__all__ = [
    'DATA_FILE',
    'INPUT_FILE',
    'LOG_FILE',
    'METRICS_FILE',
    'OUTPUT_FILE',
    'START_FILE',
    'LearningSet',
    'LogRecord',
    'Reference',
    'Source',
    'adopt_zero',
    'describe_fit',
    'draw_replay',
    'drop_close_atoms',
    'fit_reference',
    'inner_geometry',
    'input_document',
    'make_learning_set',
    'make_student',
    'read_fitted',
    'read_log',
    'read_metrics',
    'refuse_stress',
    'write_input',
    'write_start',
    'write_student',
]
