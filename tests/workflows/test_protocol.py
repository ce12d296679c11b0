"""Every protocol is what its models allow; overrides win and are refused when unknown."""

import pytest

from aiida_pyacemaker.workflows.protocol import available_protocols, load_protocol, merge

WORKFLOWS = ('distillation', 'validation', 'finetune', 'explore', 'cutout', 'label_dft', 'hierarchical')


@pytest.mark.parametrize('workflow', WORKFLOWS)
def test_protocols_hold_against_their_models(workflow):
    assert list(available_protocols(workflow)) == ['fast', 'balanced']
    fast, balanced = (load_protocol(workflow, name) for name in ('fast', 'balanced'))
    assert load_protocol(workflow) == balanced and set(fast) == set(balanced)


def test_overrides_win_and_leave_the_rest():
    settings = load_protocol('hierarchical', 'fast', {'fit': {'cutoff': 6.5}})
    assert settings['fit'] == {**load_protocol('hierarchical', 'fast')['fit'], 'cutoff': 6.5}
    assert merge({'a': {'b': 1, 'c': 2}}, {'a': {'b': 3}}) == {'a': {'b': 3, 'c': 2}}


def test_the_root_and_the_phases_agree_on_fast():
    root = load_protocol('hierarchical', 'fast')
    for workflow in ('distillation', 'validation', 'finetune', 'explore', 'cutout'):
        for port, values in load_protocol(workflow, 'fast').items():
            if port in root:
                assert root[port] == values, f'{workflow}.{port}'


def test_what_does_not_exist_is_refused_by_name():
    with pytest.raises(ValueError, match="no protocols for 'trainer'"):
        load_protocol('trainer')
    with pytest.raises(ValueError, match=r'md\.n_step = 5'):
        load_protocol('explore', 'fast', {'md': {'n_step': 5}})
