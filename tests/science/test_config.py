"""Settings refuse what they do not know, in one line that names it."""

import pytest
from pydantic import ValidationError

from aiida_pyacemaker.science import config

# what a teacher card must say: there is no calculator to fall back on
REQUIRED = {'AseTeacherConfig': {'model': 'ase.calculators.emt:EMT', 'elements': ('Cu',)}}


def all_settings():
    found = [value for value in vars(config).values() if isinstance(value, type) and issubclass(value, config.Settings)]
    return [model for model in found if model is not config.Settings]


@pytest.mark.parametrize('model', all_settings(), ids=lambda model: model.__name__)
def test_defaults_are_valid_documented_frozen_and_survive_json(model):
    defaults = model(**REQUIRED.get(model.__name__, {}))
    required = {name for name, value in model.model_fields.items() if value.is_required()}
    assert required == set(REQUIRED.get(model.__name__, {}))
    assert model.model_validate_json(defaults.model_dump_json()) == defaults
    assert model.__doc__ and model.__doc__.strip()
    with pytest.raises(ValidationError):
        setattr(defaults, next(iter(model.model_fields)), None)


@pytest.mark.parametrize('model', all_settings(), ids=lambda model: model.__name__)
def test_unknown_keys_are_refused_by_name(model):
    message = config.check_settings(model, {'no_such_key': 1}, 'port')
    assert 'port.no_such_key = 1' in message


def test_thresholds_must_rise():
    message = config.check_settings(config.ActiveLearningThresholds, {'threshold_add_train': 6.0}, 'thresholds')
    assert 'thresholds must rise' in message and '6.0, 5.0, 10.0' in message
    assert config.check_settings(config.ActiveLearningThresholds, {'threshold_danger': 20.0}, 'thresholds') is None


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'threshold_add_train': 0.02, 'threshold_call_dft': 0.05}, ('0.02', 'interpolation', "measure 'teacher'")),
        ({'measure': 'teacher', 'threshold_add_train': 2.0, 'threshold_call_dft': 5.0, 'threshold_danger': 10.0},
         ('5.0 eV/Å', "measure 'gamma'")),
        ({'per_element': {'Xx': {}}}, ('Xx', 'symbols')),
        ({'per_element': {'Si': {'threshold_call_dft': 1.5}}}, ('must rise', '2.0, 1.5, 10.0 for Si')),
        ({'per_element': {'Si': {'threshold_add_train': 0.5}}}, ('0.5 for Si', 'interpolation')),
        ({'target_force_error': 0.1, 'measure': 'teacher'}, ('target_force_error', 'eV/Å')),
        ({'target_force_error': 0.1, 'coverage': 1.0}, ('coverage',)),
    ],
)  # fmt: skip
def test_thresholds_that_make_no_sense_for_the_measure_are_refused(values, words):
    message = config.check_settings(config.ActiveLearningThresholds, values, 'thresholds')
    assert message is not None
    assert all(word in message for word in words), message


def test_a_committee_has_thresholds_of_its_own():
    rule = config.ActiveLearningThresholds(measure='teacher')
    assert (rule.threshold_add_train, rule.threshold_call_dft, rule.threshold_danger) == (0.02, 0.05, 0.1)
    assert config.ActiveLearningThresholds.model_validate(rule.model_dump()) == rule
    rule = config.ActiveLearningThresholds(per_element={'H': {'threshold_danger': 40.0}}, target_force_error=0.2)
    assert [rule.of('threshold_danger', element) for element in ('H', 'Si', None)] == [40.0, 10.0, 10.0]
    assert config.ActiveLearningThresholds.model_validate(rule.model_dump()) == rule


@pytest.mark.parametrize(
    ('model', 'key', 'value'),
    [
        (config.LoopStrategyConfig, 'incremental_update', False),
    ],
)
def test_what_is_not_built_yet_says_so(model, key, value):
    message = config.check_settings(model, {key: value}, 'port')
    assert f'port.{key}' in message and 'not built yet' in message and 'allowed: ' in message


@pytest.mark.parametrize(
    ('model', 'values'),
    [
        (config.PoolConfig, {'strain_max': 0.6}),
        (config.PoolConfig, {'rattle_amplitudes': [0.1, -0.1]}),
        (config.MdConfig, {'timestep_ps': float('inf')}),
        (config.DistillationConfig, {'held_out_fraction': 0.5}),
        (config.BudgetConfig, {'max_dft_calls': 0}),
        (config.LammpsConfig, {'cmdline': ['-k', 'on', 'g', '1', '-sf', 'kk']}),
        (config.LammpsConfig, {'cmdline': ['-k', 'on', 'g', '1', '-pk', 'kokkos', 'newton', 'on']}),
        (config.LammpsConfig, {'cmdline': ['-log', 'none']}),
        (config.CutoutConfig, {'passivation_element': 'Hydrogen'}),
        (config.CutoutConfig, {'passivation_element': 'X'}),
        (config.OrdersConfig, {'lmax_by_orders': [2, 3, 3]}),
        (config.OrdersConfig, {'lmax_by_orders': [0, -1, 3]}),
        (config.OrdersConfig, {'lmax_by_orders': []}),
        (config.BasisConfig, {'bonds': {'AlXx': {'rcut': 5.0}}}),
        (config.BasisConfig, {'embeddings': {'Xx': {}}}),
        (config.BasisConfig, {'elements': ['Xx']}),
    ],
)
def test_values_outside_their_range_are_refused_with_the_key(model, values):
    assert f'port.{next(iter(values))}' in config.check_settings(model, values, 'port')


@pytest.mark.parametrize(
    ('model', 'values', 'words'),
    [
        (config.OrdersConfig, {'nradmax_by_orders': [3, 2]}, 'have 2 and 3 entries'),
        (config.EmbeddingConfig, {'ndensity': 2}, 'has 2 numbers, expected 4'),
    ],
)
def test_values_that_do_not_go_together_are_refused(model, values, words):
    assert words in config.check_settings(model, values, 'port')


def test_accelerator_flags_that_pace_accepts_are_allowed():
    gpu = ['-k', 'on', 'g', '1', '-sf', 'kk', '-pk', 'kokkos', 'newton', 'on', 'neigh', 'half']
    for flags in (gpu, ['-pk', 'omp', '4'], []):
        assert config.check_settings(config.LammpsConfig, {'cmdline': flags}, 'settings') is None


class TestBasisKeys:
    """What pacemaker's keys mean."""

    def test_one_element_is_the_pair_with_itself(self):
        basis = config.BasisConfig(bonds={'ALL': {'rcut': 5.0}, 'Ni': {'rcut': 4.0}, 'AlNi': {'rcut': 4.5}})
        pairs = (('Ni', 'Ni'), ('Al', 'Al'), ('Ni', 'Al'))
        assert [basis.bond(*pair).rcut for pair in pairs] == [4.0, 5.0, 4.5]

    def test_unary_embeddings_are_those_of_all_elements(self):
        basis = config.BasisConfig(
            embeddings={'ALL': {'fs_parameters': (1, 1)}, 'UNARY': {'fs_parameters': (1, 0.5)}, 'Al': {}}
        )
        assert basis.embedding('Ni').fs_parameters == (1.0, 0.5) and basis.embedding('Al').is_linear

    @pytest.mark.parametrize('key', ['Al', 'AlNi', 'AlNiCu'])
    def test_limits_of_one_block_are_refused_with_what_there_is(self, key):
        with pytest.raises(ValueError, match=rf'functions has key {key}: .*allowed: ALL, UNARY, BINARY'):
            config.BasisConfig(functions={key: {'nradmax_by_orders': (4,), 'lmax_by_orders': (0,)}})
