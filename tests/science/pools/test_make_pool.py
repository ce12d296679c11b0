"""The pool as a whole: counts, groups, streams, surrogates."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_pyacemaker.science.config import FinetuneConfig, PoolConfig
from aiida_pyacemaker.science.frames import Frames
from aiida_pyacemaker.science.pools import join_samples, make_pool, make_surrogates, run_piece
from aiida_pyacemaker.science.pools.make_pool import GROUP_SIZE, share
from aiida_pyacemaker.science.pools.recipes import MD_RUN

SMALL = PoolConfig(n_strained=8, n_rattled=7, n_vacancy=4, n_md_frames=8, md_steps_between_frames=3, max_atoms=16)


def copper_pool(config=SMALL, *, seed=0, density=1.0, on_piece=run_piece):
    prototypes = [bulk('Cu', a=3.7), bulk('Cu', 'bcc', a=2.9, cubic=True)]
    rng = np.random.default_rng(seed)
    pieces = make_pool(prototypes, config.times(density), calculator=EMT(), rng=rng, on_piece=on_piece)
    return join_samples(pieces)


def count_kinds(frames):
    kinds, counts = np.unique(frames.config_type, return_counts=True)
    return dict(zip(kinds.tolist(), counts.tolist(), strict=True))


def test_counts_are_those_of_the_settings_and_grow_with_the_density():
    assert count_kinds(copper_pool().frames) == {'prototype': 2, 'strained': 8, 'rattled': 7, 'vacancy': 4, 'md': 8}
    denser = copper_pool(density=1.5).frames
    assert count_kinds(denser) == {'prototype': 2, 'strained': 12, 'rattled': 10, 'vacancy': 6, 'md': 12}
    assert np.diff(denser.offsets).max() <= 16


def test_groups_hold_one_generator_and_few_frames():
    frames = copper_pool().frames
    for group in np.unique(frames.group):
        members = frames.config_type[frames.group == group]
        assert len(set(members)) == 1 and len(members) <= (MD_RUN if members[0] == 'md' else GROUP_SIZE)


def test_the_seed_decides_everything_and_generators_do_not_disturb_each_other():
    first, again, other = copper_pool(), copper_pool(), copper_pool(seed=1)
    assert first.frames.content_digest() == again.frames.content_digest() != other.frames.content_digest()
    without = copper_pool(SMALL.model_copy(update={'n_vacancy': 0})).frames
    of_md = [frames.select(frames.config_type == 'md').content_digest() for frames in (first.frames, without)]
    assert of_md[0] == of_md[1]


def test_no_two_pieces_share_a_name():
    names = []

    def named(piece):
        names.append(piece.name)
        return run_piece(piece)

    copper_pool(SMALL.model_copy(update={'md_temperatures_K': (300.0, 300.0)}), on_piece=named)
    assert len(set(names)) == len(names)


def test_pieces_are_numbered_and_each_is_the_same_whenever_it_is_built():
    seen = []

    def twice(piece):
        seen.append((piece.index, piece.total))
        return run_piece(piece)

    copper_pool(on_piece=twice)
    assert [index for index, _ in seen] == list(range(seen[0][1])) and {total for _, total in seen} == {len(seen)}


def test_absurd_frames_are_dropped_and_counted():
    wild = PoolConfig(n_strained=0, n_rattled=10, n_vacancy=0, n_md_frames=0, rattle_amplitudes=(1.0,), max_atoms=16)
    pool = copper_pool(wild)
    assert count_kinds(pool.frames).get('rattled', 0) + sum(pool.dropped.values()) == 10
    assert pool.dropped.get('too_close', 0) > 0
    with pytest.raises(ValueError, match='no prototype is sane'):
        copper_pool(PoolConfig(max_force_eV_per_A=1e-15, min_distance_fraction=1.5))


def test_share_is_even_and_complete():
    assert share(7, 3) == [3, 2, 2]
    assert share(2, 4) == [1, 1, 0, 0]


def test_surrogates_stay_around_the_frames_they_were_given():
    rng = np.random.default_rng(0)
    halted = bulk('Cu', cubic=True) * 2
    halted.rattle(0.1, seed=1)
    config = FinetuneConfig(n_surrogate_frames=12, surrogate_amplitude=0.05, surrogate_md_temperature_K=500)
    sample = make_surrogates(Frames.from_atoms([halted, halted]), config, calculator=EMT(), rng=rng)
    kinds = count_kinds(sample.frames)
    assert kinds == {'surrogate_parent': 2, 'surrogate_rattled': 5, 'surrogate_md': 5}
    rattled = sample.frames.select(sample.frames.config_type == 'surrogate_rattled')
    shift = rattled.positions.reshape(5, 32, 3) - halted.positions
    assert shift.std() == pytest.approx(0.05, rel=0.15)
    with pytest.raises(ValueError, match='at least one'):
        make_surrogates(Frames.from_atoms([]), config, calculator=EMT(), rng=rng)


def test_frames_after_a_crash_are_no_parents_of_surrogates():
    halted = bulk('Cu', cubic=True) * 2
    crashed, lost = halted.copy(), halted.copy()
    crashed.positions[1] = crashed.positions[0] + [0.3, 0.0, 0.0]
    lost.positions[3] = np.nan
    config = FinetuneConfig(n_surrogate_frames=12, surrogate_amplitude=0.05, surrogate_md_steps=2)
    frames = Frames.from_atoms([halted, crashed, lost])
    sample = make_surrogates(frames, config, calculator=EMT(), rng=np.random.default_rng(0))
    assert count_kinds(sample.frames) == {'surrogate_parent': 1, 'surrogate_rattled': 6, 'surrogate_md': 5}
    assert not sum(sample.dropped.values())
