"""From a teacher to a student with the real programs, and what stops it on the way."""

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from ase.build import bulk

from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.data.teacher import TeacherModelData
from aiida_pyacemaker.workflows.distillation import DistillationWorkChain


def test_teacher_becomes_a_student(distilled, tiny_distillation):
    node, outputs = distilled, distilled.outputs
    potential = outputs.potential
    assert potential.elements == ('Si',) and potential.base.attributes.get('n_functions')['Si'] <= 25
    assert list(outputs.blocks) == ['teacher_00'] and outputs.blocks.teacher_00.theory == 'teacher'
    assert len(outputs.labelled) == 20 and len(outputs.held_out) == 2
    labels = node.base.links.get_outgoing(link_type=LinkType.CALL_CALC).all_link_labels()
    steps = {'sample_pool', 'sample_dimers', 'select', 'label', 'label_held_out', 'label_dimers', 'fit'}
    steps |= {'prototypes', 'ground_state', 'summary'}
    assert set(labels) == steps and len(labels) == len(steps)
    report = outputs.report.get_dict()
    assert report['zero_shot_error_against_teacher']['n_frames'] == 2
    assert sum(row['n_frames'] for row in report['by_generator'].values()) == 2
    assert list(report['by_subsystem']) == ['Si'] and report['teacher_error_against_dft'] is None
    assert report['student']['learning_curve']['n_frames'][-1] == 20
    assert len(outputs.prototypes) == 1 and report['pool']['inferred']['melting_points_K'] == {'Si': 1687}
    given = {entry.node.pk for entry in node.base.links.get_incoming().all()}
    for link in node.called_descendants:
        for entry in link.base.links.get_incoming(link_type=LinkType.INPUT_CALC).all():
            holds_data = not isinstance(entry.node, orm.Dict | orm.Int | orm.Str)
            assert not holds_data or entry.node.pk in given or entry.node.creator is not None, entry.link_label
    with enable_caching():
        _, again = run_get_node(tiny_distillation())
    assert again.is_finished_ok
    assert all(child.base.caching.is_created_from_cache for child in again.called)
    assert again.outputs.potential.base.attributes.get('sha256') == potential.base.attributes.get('sha256')


def test_without_a_confident_label_there_is_no_student(distilled, tiny_distillation):
    settings = {**distilled.inputs.distillation.get_dict(), 'uncertainty_threshold': 1e-30}
    with enable_caching():  # all but the labels is the same as above
        _, node = run_get_node(tiny_distillation(distillation=settings))
    assert node.exit_status == 410 and 'uncertainty_threshold' in node.exit_message


def test_unknown_overrides_and_ports_are_refused_by_name(task_code, tiny_distillation, monkeypatch):
    monkeypatch.setattr(TeacherModelData, 'from_name', lambda *_: pytest.fail('a teacher was fetched'))
    with pytest.raises(ValueError, match=r'fit\.ridg = 1'):
        tiny_distillation(fit={'ridg': 1})
    with pytest.raises(ValueError, match='unknown trainer; allowed: distillation, fit'):
        tiny_distillation(trainer={})
    with pytest.raises(ValueError, match="no protocol 'stringent', allowed: fast, balanced"):
        DistillationWorkChain.get_builder_from_protocol(task_code, protocol='stringent')
    with pytest.raises(ValueError, match='has no port temperature'):
        DistillationWorkChain.get_builder_from_protocol(task_code, temperature=orm.Float(300))
    with pytest.raises(ValueError, match='no element is called Iron'):
        DistillationWorkChain.get_builder_from_protocol(task_code, elements=['Iron'])
    with pytest.raises(ValueError, match='structures: 7 is a int'):
        DistillationWorkChain.get_builder_from_protocol(task_code, structures=[7])


def test_elements_must_agree(tiny_distillation):
    germanium = AtomicDatasetData.from_atoms(bulk('Ge', 'diamond', a=5.66)).store()
    for prototypes, elements, word in (
        (germanium, ['Ge'], 'teacher: does not know Ge'),
        (germanium, ['Si'], 'prototypes: hold Ge'),
    ):
        builder = tiny_distillation()
        builder.prototypes = prototypes
        builder.elements = orm.List(elements)
        with pytest.raises(ValueError, match=word):
            run_get_node(builder)
