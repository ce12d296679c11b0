"""A work chain whose worker dies in the worst moment: after `submit`, before the end of the step."""

import os
import signal
from pathlib import Path

from aiida import orm
from aiida.engine import WorkChain

from aiida_pyacemaker.workflows.dft.label_dft import DftLabelWorkChain
from aiida_pyacemaker.workflows.submission import SubmitOnce


class KillingWorkChain(SubmitOnce, WorkChain):
    """Label one dataset; the worker kills itself once, right after it submitted the child."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.expose_inputs(DftLabelWorkChain, namespace='label')
        spec.input('marker', valid_type=orm.Str, help='File that says that the worker was killed already.')
        spec.outline(cls.label, cls.results)
        spec.output('dataset', valid_type=orm.Data)

    def label(self):
        inputs = self.exposed_inputs(DftLabelWorkChain, 'label')
        child = self.submit_once('label', DftLabelWorkChain, inputs)
        marker = Path(self.inputs.marker.value)
        if not marker.exists():
            marker.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return self.to_context(child=child)

    def results(self):
        self.out('dataset', self.ctx.child.outputs.labels.part_000)
