"""Labels of another theory enter teacher and student; what was known before counts less and is not computed again."""

import pytest
from aiida import orm
from aiida.engine import run_get_node

from aiida_pyacemaker.calculations.finetune import FinetuneCalculation
from aiida_pyacemaker.data.teacher import TeacherModelData
from aiida_pyacemaker.workflows.finetune import FinetuneWorkChain

SETTINGS = {
    'finetune': {'max_epochs': 5, 'n_surrogate_frames': 4},
    'fit': {'weight_dft': 7.0, 'old_teacher_factor': 0.2},
}


def build(task_code, distilled, core_labels, **inputs):
    return FinetuneWorkChain.get_builder_from_protocol(
        task_code,
        protocol='fast',
        overrides=SETTINGS,
        teacher=distilled.inputs.teacher,
        potential=distilled.outputs.potential,
        blocks=dict(distilled.outputs.blocks),
        label_datasets={'round_01': core_labels},
        halted=core_labels,
        seed=orm.Int(5),
        **{'training_datasets': {'dft_01': core_labels}, **inputs},
    )


def test_dft_enters_teacher_and_student(task_code, distilled, core_labels):
    outputs, node = run_get_node(build(task_code, distilled, core_labels))
    assert node.is_finished_ok, node.exit_message
    before = distilled.outputs.potential
    assert set(outputs['blocks']) == {'teacher_00', 'dft_01', 'surrogate_01'}
    assert outputs['blocks']['teacher_00'].pk == distilled.outputs.blocks.teacher_00.pk
    assert {name: block.theory for name, block in outputs['blocks'].items()} == {
        'teacher_00': 'teacher', 'dft_01': 'dft', 'surrogate_01': 'teacher'
    }
    sources = outputs['metrics']['sources']
    assert {name: row['factor'] for name, row in sources.items()} == {
        'teacher_00': 0.2, 'dft_01': 7.0, 'surrogate_01': 1.0
    }
    for name in ('elements', 'n_functions', 'basis_digest'):
        assert outputs['potential'].base.attributes.get(name) == before.base.attributes.get(name)
    assert outputs['potential'].base.attributes.get('sha256') != before.base.attributes.get('sha256')
    old, new = distilled.inputs.teacher, outputs['teacher']
    assert new.n_members == old.n_members and new.elements == old.elements
    assert new.base.attributes.get('licence') == old.base.attributes.get('licence')
    assert not set(new.base.attributes.get('sha256')) & set(old.base.attributes.get('sha256'))
    labels = [link.link_label for link in node.base.links.get_outgoing(node_class=orm.CalcJobNode).all()]
    assert sorted(labels) == ['finetune_teacher', 'fit', 'label_surrogates', 'sample_surrogates']


def test_a_teacher_of_a_plug_in_stays_and_dft_alone_reaches_the_student(task_code, distilled, core_labels, tmp_path):
    pytest.importorskip('chgnet')
    teacher = TeacherModelData.from_name('chgnet', cache_dir=tmp_path).store()
    builder = build(task_code, distilled, core_labels)
    builder.teacher = teacher
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    assert set(outputs['blocks']) == {'teacher_00', 'dft_01'}
    assert outputs['teacher'].pk == teacher.pk
    assert outputs['potential'].base.attributes.get('sha256') != builder.potential.base.attributes.get('sha256')
    labels = [link.link_label for link in node.base.links.get_outgoing(node_class=orm.CalcJobNode).all()]
    assert labels == ['fit']
    said = ' '.join(entry.message for entry in orm.Log.collection.get_logs_for(node))
    assert 'family chgnet stays as it is' in said
    calculation = FinetuneCalculation.get_builder()
    calculation.code, calculation.seed, calculation.datasets = task_code, orm.Int(1), {'dft': core_labels}
    with pytest.raises(ValueError, match='family chgnet, which cannot be trained on DFT; allowed: mace'):
        calculation.teacher = teacher
        run_get_node(calculation)


def test_names_of_blocks_are_not_used_twice(task_code, distilled, core_labels):
    builder = build(task_code, distilled, core_labels, training_datasets={'teacher_00': core_labels})
    with pytest.raises(ValueError, match='teacher_00 exist already'):
        run_get_node(builder)
