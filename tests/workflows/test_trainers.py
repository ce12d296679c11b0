"""The same workflows with each trainer: which is given decides, ports and outputs are the same."""

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager

from aiida_pyacemaker.workflows.distillation import DistillationWorkChain
from aiida_pyacemaker.workflows.finetune import FinetuneWorkChain
from aiida_pyacemaker.workflows.hierarchical import HierarchicalDistillationWorkChain

NONLINEAR = {'embeddings': {'ALL': {'fs_parameters': [1.0, 1.0, 1.0, 0.5], 'ndensity': 2}}}


@pytest.fixture
def trainers(request):
    """Return the namespace `trainer` by name; what needs pacemaker is skipped where there is none."""

    def give(name):
        if name == 'embedded':
            return {'embedded': {}}
        code = request.getfixturevalue('pacemaker_code')
        return {'pacemaker': {'code': code, 'settings': orm.Dict({'maxiter': 6, 'batch_size': 10})}}

    return give


@pytest.mark.parametrize('name', ['embedded', 'pacemaker'])
def test_a_student_is_made_and_goes_on_learning(name, trainers, request, task_code, core_labels):
    """Distillation and fine-tuning as a whole, by the trainer that is given and by nothing else."""
    trainer = trainers(name)
    if name == 'embedded':  # which nobody need name: it has run once in this session
        node = request.getfixturevalue('distilled')
    else:
        builder = request.getfixturevalue('tiny_distillation')()
        builder.trainer = trainer
        _, node = run_get_node(builder)
        assert node.is_finished_ok, node.exit_message
    first = node.outputs
    assert set(first) >= {'potential', 'blocks', 'metrics', 'pool', 'labelled'}
    assert first.blocks.teacher_00.theory == 'teacher'
    again = FinetuneWorkChain.get_builder_from_protocol(
        task_code,
        protocol='fast',
        overrides={'finetune': {'max_epochs': 2, 'n_surrogate_frames': 3}, 'thresholds': {'threshold_call_dft': 4.0},
                   'fit': {'number_of_functions_per_element': 25, 'cutoff': 4.5}},
        teacher=node.inputs.teacher,
        potential=first.potential,
        blocks=dict(first.blocks),
        label_datasets={'round_01': core_labels},
        training_datasets={'dft_01': core_labels},
        halted=core_labels,
        seed=orm.Int(5),
        replay_buffer_size=orm.Int(8),
        trainer=trainer,
    )  # fmt: skip
    if 'rows' in first:
        again.rows = dict(first.rows)
    second, node = run_get_node(again)
    assert node.is_finished_ok, node.exit_message
    assert set(second['blocks']) == {'teacher_00', 'dft_01', 'surrogate_01'}
    before, after = (metrics.get_dict() for metrics in (first.metrics, second['metrics']))
    assert after['reference_energies'] == before['reference_energies']
    assert set(after['sources']) == {'teacher_00', 'dft_01', 'surrogate_01'}
    if name == 'embedded':
        assert after['sources']['dft_01']['trained_atoms_above_call']['threshold'] == 4.0
    for potential in (first.potential, second['potential']):
        files = potential.base.attributes.get('sha256')
        assert {'potential.yaml', 'potential.yace', 'potential.asi', 'baseline.json', 'canary.json'} <= set(files)
    fit = next(link.node for link in node.base.links.get_outgoing().all() if link.link_label == 'fit')
    assert fit.process_label == {'embedded': 'AceFitCalculation', 'pacemaker': 'PacemakerBaseWorkChain'}[name]


@pytest.mark.parametrize('process', [DistillationWorkChain, FinetuneWorkChain, HierarchicalDistillationWorkChain])
def test_every_workflow_that_fits_has_the_same_namespace(process):
    trainer = process.spec().inputs['trainer']
    assert set(trainer) == {'embedded', 'pacemaker'} and not trainer.required
    assert {'blocks', 'rows', 'potential'} <= set(process.spec().outputs)


def test_what_a_trainer_cannot_do_is_refused_before_anything_runs(tiny_distillation, aiida_code_installed, localhost):
    code = aiida_code_installed(label='any', computer=localhost, filepath_executable='/bin/true')
    pacemaker = {'pacemaker': {'code': code}}
    cases = [
        ({**pacemaker, 'embedded': {'code': code}}, {}, 'embedded and pacemaker are both given'),
        (None, {'basis': NONLINEAR}, r'embeddings: ALL not linear.*trainer\.pacemaker'),
        (pacemaker, {'weight_stress': 3.0}, 'weight_stress = 3.0.*no stress'),
        ({'pacemaker': {'code': code, 'settings': orm.Dict({'maxite': 3})}}, {}, r'pacemaker\.settings\.maxite'),
    ]
    for trainer, fit, words in cases:
        builder = tiny_distillation(fit=fit)
        with pytest.raises(ValueError, match=words):
            if trainer is not None:
                builder.trainer = trainer
            instantiate_process(get_manager().get_runner(), builder)
    builder = tiny_distillation(fit={'basis': NONLINEAR})
    builder.trainer = pacemaker
    assert instantiate_process(get_manager().get_runner(), builder).inputs.trainer.pacemaker.code.pk == code.pk


def test_blocks_of_another_trainer_are_refused(distilled, task_code, core_labels, aiida_code_installed, localhost):
    code = aiida_code_installed(label='any', computer=localhost, filepath_executable='/bin/true')
    builder = FinetuneWorkChain.get_builder_from_protocol(
        task_code, teacher=distilled.inputs.teacher, potential=distilled.outputs.potential,
        blocks=dict(distilled.outputs.blocks), label_datasets={'round_01': core_labels},
        training_datasets={'dft_01': core_labels}, halted=core_labels, trainer={'pacemaker': {'code': code}},
    )  # fmt: skip
    with pytest.raises(ValueError, match=r'teacher_00 left by another trainer; .*AtomicDatasetData'):
        instantiate_process(get_manager().get_runner(), builder)
