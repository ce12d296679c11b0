"""Gates are judged by the real program; a gate that fails is named, and what was measured is attached."""

from aiida import orm
from aiida.engine import run_get_node

from aiida_pyacemaker.workflows.validation import ValidationWorkChain


def test_failed_gates_are_named_and_the_report_is_attached(task_code, distilled, silicon_prototypes):
    builder = ValidationWorkChain.get_builder_from_protocol(
        task_code,
        potential=distilled.outputs.potential,
        teacher=distilled.inputs.teacher,
        prototypes=silicon_prototypes,
        seed=orm.Int(1),
        protocol='fast',
        overrides={'validation': {'md_steps': 20, 'md_max_gamma': 1e-6}},
    )
    outputs, node = run_get_node(builder)
    assert node.exit_status == 601
    gates = {gate['name']: gate['passed'] for gate in outputs['report']['gates']}
    refused = [name for name, passed in gates.items() if not passed]
    assert refused and all(name in node.exit_message for name in refused)
    assert outputs['arrays'].get_shape('eos_volume') == outputs['arrays'].get_shape('eos_energy_student')
