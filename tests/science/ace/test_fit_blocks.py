"""The linear fit: gives back what made the labels; blocks add up to the batch; what is masked is not learnt."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from fit_examples import BASELINE, CONFIG, ELEMENTS, labelled_frames, true_potential

from aiida_pyacemaker.science.ace import active_set, build_potential, evaluate
from aiida_pyacemaker.science.ace.active_set import SWAP_TOLERANCE
from aiida_pyacemaker.science.ace.blocks import Assembly, FitBlock, make_fit_block
from aiida_pyacemaker.science.ace.fit import Ridge, fit_reference_energies, prior_scales, solve_blocks
from aiida_pyacemaker.science.ace.quality import trained_grades
from aiida_pyacemaker.science.ace.weights import RowWeights, atoms_too_close
from aiida_pyacemaker.science.frames import HAS_FORCES, concatenate_frames

WEIGHTS = RowWeights()
REFERENCE = true_potential().reference_energies
EMPTY = build_potential(ELEMENTS, CONFIG).with_reference_energies(REFERENCE)


@pytest.fixture(scope='module')
def sources():
    return {name: labelled_frames(6, seed) for name, seed in (('pool', 1), ('surrogate', 2))}


@pytest.fixture(scope='module')
def blocks(sources):
    return {name: block(frames, name) for name, frames in sources.items()}


def block(frames, name, potential=EMPTY, **options):
    return make_fit_block(frames, potential, name=name, baseline=BASELINE, weights=WEIGHTS, **options)


def solve(blocks, potential=EMPTY, *, factors=None, ridge=1e-14, **options):
    options = {'complete': True, **options}
    return solve_blocks(list(blocks), potential, factors=factors or {}, ridge=Ridge(ridge, 1e-16), **options)


def test_environments_left_out_early_are_gone_through_again(monkeypatch):
    """Whatever the order of the frames, no atom of a source ends above MaxVol's tolerance."""
    monkeypatch.setattr(active_set, 'BUFFERED', 0)  # thinned out at 4 times the functions
    frames = labelled_frames(60, 3)
    source = block(frames, 'pool')
    assert all(len(rows) == 30 for rows in source.candidates.values())
    grades = trained_grades(frames, EMPTY, active_set.build_active_set(source.candidates)).gamma
    assert len(grades) == frames.n_atoms - source.n_too_close and grades.max() <= SWAP_TOLERANCE + 1e-6
    monkeypatch.setattr(active_set.fill, '__kwdefaults__', {'passes': 0})
    once = active_set.build_active_set(block(frames, 'pool').candidates)
    assert trained_grades(frames, EMPTY, once).gamma.max() > SWAP_TOLERANCE + 1e-6


def predictions(potential, frames):
    """Energies and forces of all frames, flat."""
    rows = [evaluate(potential, atoms) for atoms in frames.iter_atoms()]
    return np.concatenate([np.append(row.forces.ravel(), row.energies.sum()) for row in rows])


def test_gives_back_the_potential_that_made_the_labels(blocks):
    result = solve(blocks.values())
    test = labelled_frames(3, 9)
    # noise-free labels; what is left is the ridge of 1e-14 in ill-conditioned directions
    assert predictions(result.potential, test) == pytest.approx(predictions(true_potential(), test), abs=1e-5)
    for source in result.metrics['sources'].values():
        assert source['rmse_energy_eV_per_atom'] < 1e-6 and source['rmse_forces_eV_per_A'] < 1e-5


def test_reference_energies_are_found_with_the_coefficients(blocks, sources):
    guess = fit_reference_energies(list(sources.values()), ELEMENTS, BASELINE)
    start = EMPTY.with_reference_energies(guess)
    result = solve(blocks.values(), start, own_zero=None)
    assert max(source['rmse_energy_eV_per_atom'] for source in result.metrics['sources'].values()) < 1e-5
    kept = solve(blocks.values(), result.potential)
    assert kept.potential.reference_energies == result.potential.reference_energies


def test_reference_energies_of_one_composition_are_the_mean_per_atom(sources):
    frames = labelled_frames(3, 4, elements=('Al',))
    known = np.array([BASELINE.evaluate(atoms)[0].sum() for atoms in frames.iter_atoms()])
    mean = np.mean((frames.energy - known) / np.diff(frames.offsets))
    assert fit_reference_energies([frames], ['Al'], BASELINE)['Al'] == pytest.approx(mean, rel=1e-12)
    assert fit_reference_energies([], ['Al']) == {'Al': 0.0}


def test_a_source_with_its_own_zero_counts_up_to_a_constant_an_element(blocks, sources):
    """Energies 0.3 eV higher an Al, 0.2 eV lower a Ni teach the same; with a shared zero they spoil the fit."""
    frames = sources['surrogate']
    shift = {13: 0.3, 28: -0.2}
    per_atom = np.array([shift[number] for number in frames.numbers])
    moved = frames.with_columns(energy=frames.energy + np.add.reduceat(per_atom, frames.offsets[:-1]))
    shifted = [blocks['pool'], block(moved, 'surrogate')]
    own = solve(shifted, own_zero=('surrogate',))
    test = labelled_frames(3, 9)
    assert predictions(own.potential, test) == pytest.approx(predictions(true_potential(), test), abs=1e-5)
    assert own.metrics['sources']['surrogate']['rmse_energy_eV_per_atom'] < 1e-6
    assert solve(shifted).metrics['sources']['surrogate']['rmse_energy_eV_per_atom'] > 1e-3


def normal_equations(sources, potential, ridge):
    """Brute-force twin: all rows of all sources at once, weights written out, solved densely."""
    from aiida_pyacemaker.science.ace import design_rows

    rows, targets = [], []
    for frames in sources.values():
        n_atoms, n_frames = frames.n_atoms, len(frames)
        scale = {
            'e': np.sqrt(1 / 111 / n_frames) / 1e-3,
            'f': np.sqrt(100 / 111 / (3 * n_atoms)) / 0.1,
            's': np.sqrt(10 / 111 / (6 * n_frames)) / 1e-2,
        }
        for index, atoms in enumerate(frames.iter_atoms()):
            design, known, size = design_rows(potential, atoms), BASELINE.evaluate(atoms), len(atoms)
            free = sum(REFERENCE[symbol] for symbol in atoms.get_chemical_symbols()) + known[0].sum()
            volume = atoms.get_volume() / size
            rows += [
                scale['e'] * design.energy[None] / size,
                scale['f'] * design.forces.reshape(3 * size, -1),
                scale['s'] * design.stress * volume,
            ]
            targets += [
                [scale['e'] * (frames.energy[index] - free) / size],
                scale['f'] * (frames.forces[frames.span(index)] - known[1]).ravel(),
                scale['s'] * (frames.stress[index] - known[2]) * volume,
            ]
    design, target, scales = np.concatenate(rows), np.concatenate(targets), prior_scales(potential)
    strength = np.sqrt(ridge * np.mean(np.linalg.svd(design / scales, compute_uv=False) ** 2))
    design = np.concatenate([design, strength * np.diag(scales)])
    return np.linalg.lstsq(design, np.append(target, np.zeros(len(scales))), rcond=None)[0]


def test_blocks_equal_the_batch_to_round_off_in_predictions(sources, blocks):
    batch = EMPTY.with_coefficients(normal_equations(sources, EMPTY, 1e-8))
    added = solve(blocks.values(), ridge=1e-8).potential
    test = labelled_frames(2, 9)
    wanted = predictions(batch, test)
    assert predictions(added, test) == pytest.approx(wanted, rel=1e-9, abs=1e-9 * np.abs(wanted).max())


def test_streaming_in_pieces_equals_one_piece(sources, blocks, monkeypatch):
    monkeypatch.setattr('aiida_pyacemaker.science.ace.least_squares.factors.BUFFERED_ROWS', 10)
    monkeypatch.setattr('aiida_pyacemaker.science.ace.active_set.BUFFERED', 35)
    streamed = block(sources['pool'], 'pool')
    for kind, factor in blocks['pool'].factors.items():
        assert streamed.factors[kind].T @ streamed.factors[kind] == pytest.approx(factor.T @ factor, rel=1e-9, abs=1e-9)
    assert streamed.n_rows == blocks['pool'].n_rows == {'energy': 6, 'forces': 144, 'stress': 36}


def test_forgetting_a_source_equals_a_fit_without_it(blocks):
    forgotten = solve(blocks.values(), factors={'surrogate': 0.0})
    without = solve([blocks['pool']])
    assert forgotten.potential.coefficients.tolist() == without.potential.coefficients.tolist()
    assert list(forgotten.metrics['sources']) == ['pool']
    for element, inverse in without.active_set.inverses.items():
        assert (forgotten.active_set.inverses[element] == inverse).all()


def test_a_source_counts_once_however_many_frames_it_holds(sources, blocks):
    twice = block(concatenate_frames([sources['pool'], sources['pool']]), 'pool')
    same = solve([twice, blocks['surrogate']], ridge=1e-8).potential
    wanted = predictions(solve(blocks.values(), ridge=1e-8).potential, sources['pool'])
    assert predictions(same, sources['pool']) == pytest.approx(wanted, abs=1e-9 * np.abs(wanted).max())
    sums = twice.weight_sums
    squares = [(factor * WEIGHTS.scales[kind]) ** 2 * sums[kind] for kind, factor in WEIGHTS.row_factors(sums).items()]
    assert sum(squares) == pytest.approx(1.0, rel=1e-14)


def test_masked_atoms_give_no_rows_and_no_environments(sources):
    frames = sources['pool'].select([0, 1])
    weight = np.zeros(frames.n_atoms)
    weight[[2, 9]] = 1.0
    forces = np.where(weight[:, None] > 0, frames.forces, np.nan)
    masked = frames.with_columns(force_weight=weight, forces=forces, label_mask=np.full(2, 7))
    result = block(masked, 'cutout')
    assert result.n_rows == {'forces': 6}
    assert sum(len(rows) for rows in result.candidates.values()) == 2
    corrupted = forces.copy()
    corrupted[weight == 0] = 1e6
    again = block(masked.with_columns(forces=corrupted, energy=np.full(2, 1e9)), 'cutout')
    assert (again.factors['forces'] == result.factors['forces']).all()


def test_label_that_is_announced_but_missing_is_refused(sources):
    frames = sources['pool'].select([0])
    with pytest.raises(ValueError, match='frame 0 announces energy'):
        block(frames.with_columns(energy=np.array([np.nan])), 'pool')
    only_forces = frames.with_columns(energy=np.array([np.nan]), label_mask=np.full(1, HAS_FORCES))
    assert list(block(only_forces, 'pool').factors) == ['forces']


def test_atoms_inside_the_inner_cutoff_are_left_to_the_baseline(sources):
    frames = sources['pool'].select([0])
    positions = frames.positions.copy()
    positions[1] = positions[0] + [0.0, 0.0, 1.2]
    result = block(frames.with_columns(positions=positions), 'pool')
    assert result.n_too_close >= 2
    assert result.n_rows == {'forces': 3 * (frames.n_atoms - result.n_too_close)}


@pytest.mark.parametrize('pbc', [False, (True, True, False)])
def test_closeness_needs_no_box(pbc):
    atoms = Atoms(['Al', 'Ni', 'Al'], positions=[[0, 0, 0], [0, 0, 1.2], [0, 0, 4.0]], pbc=pbc)
    atoms.cell = np.diag([9.0, 9.0, 0.0]) if np.any(pbc) else np.zeros((3, 3))
    assert atoms_too_close(atoms, build_potential(ELEMENTS, CONFIG)).tolist() == [True, True, False]


def test_save_and_load_and_refusals(blocks, tmp_path):
    blocks['pool'].save(tmp_path / 'block_pool.npz')
    again = FitBlock.load(tmp_path / 'block_pool.npz')
    assert again.theory == 'teacher' and again.weights == WEIGHTS and again.frozen == blocks['pool'].frozen
    assert solve([again]).potential.coefficients.tolist() == solve([blocks['pool']]).potential.coefficients.tolist()
    other = build_potential(ELEMENTS, CONFIG.model_copy(update={'cutoff': 5.0}))
    with pytest.raises(ValueError, match=r"block 'pool' was made for another fit \(basis: block has"):
        solve([again], other)
    with pytest.raises(ValueError, match='each once'):
        solve([again, blocks['pool']])
    (tmp_path / 'text.npz').write_text('no')
    with pytest.raises(ValueError, match=r'text\.npz is not a fit block'):
        FitBlock.load(tmp_path / 'text.npz')
    whole = (tmp_path / 'block_pool.npz').read_bytes()
    (tmp_path / 'cut.npz').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r'cut\.npz is not a fit block'):
        FitBlock.load(tmp_path / 'cut.npz')


def test_evidence_picks_a_larger_ridge_for_noisier_labels(sources):
    ridges = []
    for noise in (0.0, 0.3, 3.0):
        rng = np.random.default_rng(0)
        forces = sources['pool'].forces + rng.normal(scale=noise, size=sources['pool'].forces.shape)
        noisy = sources['pool'].with_columns(forces=forces, label_mask=np.full(6, HAS_FORCES))
        ridges.append(solve([block(noisy, 'pool')], ridge='evidence').ridge)
    assert ridges[0] < ridges[1] < ridges[2]


def test_sources_that_teach_nothing_are_refused(sources):
    frames = sources['pool']
    with pytest.raises(ValueError, match="source 'pool' holds no frames"):
        block(frames.select([]), 'pool')
    with pytest.raises(ValueError, match=r"source 'pool' has no row that counts: .* all others have weight 0"):
        block(frames.with_columns(force_weight=np.zeros(frames.n_atoms)), 'pool')
    mask = np.array([7, 7, 0, 7, 0, 7], dtype=np.uint8)
    with pytest.raises(ValueError, match=r"2 of 6 frames of source 'pool' have no label .* the first is frame 2"):
        block(frames.with_columns(label_mask=mask), 'pool')
    with pytest.raises(ValueError, match=r"no block with a factor > 0 among \['pool'\]"):
        solve([block(frames, 'pool')], factors={'pool': 0.0})


def test_what_gives_no_row_is_counted(sources):
    frames = sources['pool']
    weight = np.ones(frames.n_atoms)
    weight[frames.span(3)] = 0.0
    found = block(frames.with_columns(force_weight=weight), 'pool')
    assert (found.n_unweighted, found.n_frames, found.n_rows['energy']) == (1, 6, 5)


def test_duplicates_are_reported_and_count_as_they_are(sources):
    frames = sources['pool']
    twice = block(frames.select([0, 1, 0, 2]), 'pool')
    assert twice.n_duplicates == 1 and twice.n_rows['energy'] == 4
    result = solve([twice, block(frames.select([1, 5]), 'more')])
    assert result.metrics['sources']['pool']['n_duplicate_frames'] == 1
    assert result.metrics['n_duplicates_between_sources'] == 1


def test_what_is_frozen_is_said(blocks):
    """Basis, baseline and scaling are in the rows of a block: another of them is refused, never mixed."""
    other = replace(blocks['surrogate'], frozen={**blocks['surrogate'].frozen, 'baseline': 'another'})
    with pytest.raises(ValueError, match=r"'surrogate' .*baseline: block has another.* cannot be changed any more"):
        solve([blocks['pool'], other])
    scaled = replace(blocks['pool'], frozen={**blocks['pool'].frozen, 'scaling': '{}'})
    with pytest.raises(ValueError, match=r'scaling: block has \{\}'):
        solve([scaled])
    with pytest.raises(ValueError, match="ridge is 'guess', expected a number, 'evidence'"):
        solve([blocks['pool']], ridge='guess')


def test_folds_survive_the_file(sources, tmp_path):
    made = block(sources['pool'], 'pool', assembly=Assembly(n_folds=3))
    made.save(tmp_path / 'block.npz')
    again = FitBlock.load(tmp_path / 'block.npz')
    assert [sorted(fold) for fold in again.folds] == [['energy', 'forces', 'stress']] * 3
    rule = Ridge('cross-validation', 1e-12)
    found = [solve_blocks([one], EMPTY, factors={}, ridge=rule, complete=True) for one in (made, again)]
    assert found[0].ridge == found[1].ridge
    assert found[0].potential.coefficients.tolist() == found[1].potential.coefficients.tolist()
