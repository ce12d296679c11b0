"""What a fit by pacemaker leaves, finished, cut off or refused."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ExitCode

from ..calculations.pacemaker import INTERIM_FILES, LADDER_PATTERN, read_job
from ..data.ace_potential import AcePotentialData
from ..science.config import PacemakerConfig
from ..science.pacemaker import log as fit_log
from .base import ProgramParser, one_line, plain_json

WALL_FRACTION = 0.95  # a fit that ends without a word after this much of the limit was ended by it
OUT_OF_WALLTIME, OUT_OF_MEMORY = 120, 110  # what AiiDA's schedulers say
CAUSES = {
    'out_of_memory': 'ERROR_OUT_OF_MEMORY',
    'no_tensorflow': 'ERROR_NO_TENSORFLOW',
    'dataset': 'ERROR_DATASET_UNREADABLE',
    'refused': 'ERROR_REFUSED_BY_PACEMAKER',
}


class PacemakerParser(ProgramParser):
    """Reads log, metrics and potentials; success is a saved, whole potential after at least one iteration."""

    CACHE_VERSION = 1

    def parse(self, retrieved_temporary_folder: str | None = None, **_: Any) -> ExitCode | None:
        """Attach whatever is there, also of a fit that failed."""
        folder = Path(retrieved_temporary_folder or '.')
        log = fit_log.read_log(self._text(fit_log.LOG_FILE))
        metrics = fit_log.read_metrics(self._text(fit_log.METRICS_FILE))
        if metrics and len(metrics['loss']):
            self.out('learning_curve', orm.ArrayData(metrics))
        wrong = self._judge_numbers(log, metrics)
        if wrong is not None:
            return wrong
        if log.saved:
            return self._finish(folder, log, metrics)
        return self._explain(folder, log, metrics)

    def _judge_numbers(self, log: fit_log.LogRecord, metrics: dict[str, Any]) -> ExitCode | None:
        """Return an exit code where the loss is not what a fit should have."""
        loss = metrics.get('loss', np.zeros(0))
        if log.status == fit_log.STATUS_NAN or not np.isfinite(loss[-1:]).all():
            return self.exit_codes.ERROR_NOT_FINITE
        factor = self._config().diverged_factor
        if fit_log.has_diverged(loss, factor):
            return self.exit_codes.ERROR_DIVERGED.format(loss=loss[-1], factor=factor)
        return None

    def _finish(self, folder: Path, log: fit_log.LogRecord, metrics: dict[str, Any]) -> ExitCode | None:
        """Attach the student of a fit that came to its end."""
        from ..science.ace.active_set import TooFewEnvironments
        from ..science.pacemaker import NotFinite, finish_job, read_fitted, write_student

        if not log.started:
            why = 'its start is marked as fitted' if log.skipped else 'the minimiser made no step'
            return self.exit_codes.ERROR_NO_FIT.format(message=why)
        try:
            potential = read_fitted(folder / fit_log.OUTPUT_FILE, _n_functions(metrics))
        except NotFinite:
            return self.exit_codes.ERROR_NOT_FINITE
        except ValueError as error:
            return self.exit_codes.ERROR_TRUNCATED_POTENTIAL.format(message=one_line(error))
        job = read_job(self.node.base.links.get_incoming(link_type=LinkType.INPUT_CALC).nested())
        held_out = self.node.inputs.held_out.get_frames() if 'held_out' in self.node.inputs else None
        try:
            student, report = finish_job(job, potential, held_out)
        except TooFewEnvironments as error:
            return self.exit_codes.ERROR_TOO_FEW_ENVIRONMENTS.format(message=one_line(error))
        report = plain_json({**report, 'seed': self.node.inputs.seed.value, 'pacemaker': _describe(log, metrics)})
        with tempfile.TemporaryDirectory() as scratch:
            write_student(Path(scratch), student, job.sources)
            self.out('potential', AcePotentialData.from_folder(scratch, metrics=report))
        self.out('metrics', orm.Dict(report))
        if log.success or log.status in (None, fit_log.STATUS_MAXITER):
            return None
        return self.exit_codes.USABLE_BUT_NOT_CONVERGED.format(message=one_line(log.message))

    def _explain(self, folder: Path, log: fit_log.LogRecord, metrics: dict[str, Any]) -> ExitCode:
        """Return why there is no final potential; attach the one that there was, if it is whole."""
        self._attach_interim(folder, _n_functions(metrics))
        screen = self._text(self.node.get_option('output_filename'))
        cause = fit_log.why_it_stopped(screen + self._text(self.node.get_option('scheduler_stderr')))
        said = one_line(fit_log.last_error(screen) or 'no message')
        if cause:
            return self.exit_codes[CAUSES[cause]].format(message=said)
        if log.over:
            return self.exit_codes.ERROR_NO_FIT.format(message='it was told not to fit')
        if self.node.exit_status == OUT_OF_MEMORY:
            return self.exit_codes.ERROR_OUT_OF_MEMORY
        limit = self.node.get_option('max_wallclock_seconds')
        if self.node.exit_status == OUT_OF_WALLTIME or (limit and log.seconds >= WALL_FRACTION * limit):
            return self.exit_codes.ERROR_OUT_OF_WALLTIME
        if not self._text(fit_log.LOG_FILE):
            return self.exit_codes.ERROR_NO_LOG.format(message=self._last_words())
        return self.exit_codes.ERROR_KILLED

    def _attach_interim(self, folder: Path, n_functions: int | None) -> None:
        """Attach the newest potential that is whole and may be gone on from."""
        from ..science.pacemaker import write_start

        steps = sorted(folder.glob(LADDER_PATTERN), key=lambda path: int(path.stem.rpartition('_')[2]), reverse=True)
        for path in (*(folder / name for name in INTERIM_FILES), *steps):
            with tempfile.TemporaryDirectory() as scratch:
                target = Path(scratch) / 'interim.yaml'
                try:
                    write_start(path, target, None if path in steps else n_functions)
                except ValueError as error:
                    self.logger.info(f'not to go on from: {one_line(error)}')
                    continue
                self.out('interim', orm.SinglefileData(target))
                return

    def _config(self) -> PacemakerConfig:
        values = self.node.inputs.settings.get_dict().get('pacemaker') or {}
        return PacemakerConfig.model_validate(values)


def _n_functions(metrics: dict[str, Any]) -> int | None:
    """Return how many functions the last step of the fit had."""
    counts = metrics.get('nfuncs', ())
    return int(counts[-1]) if len(counts) else None


def _describe(log: fit_log.LogRecord, metrics: dict[str, Any]) -> dict[str, Any]:
    """Return what the minimiser said; errors of pacemaker are over all rows, whatever their weight."""
    last = {name: float(values[-1]) for name, values in metrics.items() if name in ('loss', 'rmse_epa', 'rmse_f_comp')}
    return {
        'iterations': log.iterations,
        'converged': bool(log.success),
        'message': log.message,
        'seconds': log.seconds,
        'batch_size_lowered_to': log.batch_size,
        'versions': dict(log.versions),
        'unweighted': last,
    }
