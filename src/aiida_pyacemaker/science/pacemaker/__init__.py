"""pacemaker as a trainer: its input and data set out, its log, metrics and potentials in."""

from .fitted import write_student
from .input_file import DATA_FILE, INPUT_FILE, START_FILE
from .job import FitJob, finish_job, make_job, write_job
from .log import LOG_FILE, METRICS_FILE, OUTPUT_FILE, LogRecord, has_diverged, read_log, read_metrics
from .loss import refuse_stress
from .potentials import NotFinite, read_fitted, write_start
from .reference import Reference, fit_reference
from .replay import draw_replay

__all__ = [
    'DATA_FILE',
    'INPUT_FILE',
    'LOG_FILE',
    'METRICS_FILE',
    'OUTPUT_FILE',
    'START_FILE',
    'FitJob',
    'LogRecord',
    'NotFinite',
    'Reference',
    'draw_replay',
    'finish_job',
    'fit_reference',
    'has_diverged',
    'make_job',
    'read_fitted',
    'read_log',
    'read_metrics',
    'refuse_stress',
    'write_job',
    'write_start',
    'write_student',
]
