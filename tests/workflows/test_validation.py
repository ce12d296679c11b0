"""Gates are judged by the real program; a gate that fails is named, and what was measured is attached."""

from aiida import orm
from aiida.engine import run_get_node

from aiida_pyacemaker.data.ace_potential import AcePotentialData
from aiida_pyacemaker.science.ace import AcePotential
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


def judge(task_code, distilled, prototypes, potential):
    """Return the exit status and what each gate said of ``potential``."""
    builder = ValidationWorkChain.get_builder_from_protocol(
        task_code,
        potential=potential,
        teacher=distilled.inputs.teacher,
        prototypes=prototypes,
        seed=orm.Int(1),
        protocol='fast',
        overrides={'validation': {'md_steps': 20}},
    )
    outputs, node = run_get_node(builder)
    return node.exit_status, {gate['name']: gate['passed'] for gate in outputs['report']['gates']}


def test_a_damaged_potential_fails_gates_that_it_passed_before(task_code, distilled, silicon_prototypes, tmp_path):
    """Every coefficient loses 40 %: the crystal is another one."""
    whole = distilled.outputs.potential
    whole.write_to(tmp_path)
    intact = AcePotential.read(tmp_path / 'potential.yaml')
    intact.with_coefficients(0.6 * intact.coefficients).write_yaml(tmp_path / 'potential.yaml')
    (tmp_path / 'canary.json').unlink(missing_ok=True)  # it would tell at once
    _, before = judge(task_code, distilled, silicon_prototypes, whole)
    status, after = judge(task_code, distilled, silicon_prototypes, AcePotentialData.from_folder(tmp_path))
    assert status == 601
    assert [name for name in before if before[name] and not after[name]], (before, after)
