"""Files of a potential: what is read and written, and what each damaged or foreign file is refused with."""

import re
from dataclasses import replace

import numpy as np
import pytest
from ace_examples import FIXTURES, MIXED, binary_potential, read_yace, reference_names

from aiida_pyacemaker.science.ace import AcePotential

MIXED_NAMES = ('AlNi_mixed_density', 'AlNi_mixed_distance', 'AlNi_mixed_zbl')


def spoilt(tmp_path, source, old, new):
    """Write a file with one text replaced, and return its path; ``source`` is a path or the name of a fixture."""
    found = [folder / source for folder in (FIXTURES, MIXED) if (folder / source).exists()]
    text = found[0].read_text()
    assert old in text
    path = tmp_path / f'spoilt{found[0].suffix}'
    path.write_text(text.replace(old, new, 1))
    return path


def assert_same(one, other, atol):
    """Everything but the coefficients must agree to the bit."""
    assert one.digest == other.digest and one.functions == other.functions
    assert one.reference_energies == other.reference_energies
    np.testing.assert_allclose(one.coefficients, other.coefficients, rtol=0, atol=atol)


@pytest.mark.parametrize('name', [*reference_names(), *MIXED_NAMES, 'binary'])
def test_reading_keeps_everything(name, tmp_path):
    """A .yaml reads back to the same bits; a .yace, whose couplings are multiplied out, to round-off."""
    folder = MIXED if name in MIXED_NAMES else FIXTURES
    potential = binary_potential() if name == 'binary' else AcePotential.read(folder / f'{name}.yaml')
    potential.write_yaml(tmp_path / 'x.yaml')
    assert_same(AcePotential.read(tmp_path / 'x.yaml'), potential, 0.0)
    potential.write_yace(tmp_path / 'x.yace')
    round_off = 4 * np.finfo(float).eps * np.abs(potential.coefficients).max()
    assert_same(AcePotential.read(tmp_path / 'x.yace'), potential, round_off)


@pytest.mark.parametrize('name', reference_names())
def test_pyace_yace_is_read_as_its_yaml(name):
    found, expected = (AcePotential.read(FIXTURES / f'{name}.{ending}') for ending in ('yace', 'yaml'))
    assert_same(found, expected, 4 * np.finfo(float).eps * np.abs(expected.coefficients).max())


def test_elements_have_the_same_number_of_densities_in_both_files(tmp_path):
    """LAMMPS is silently wrong otherwise; what is appended has no coefficient and no prefactor."""
    mixed = AcePotential.read(FIXTURES / 'AlNi_ChebPow_mixed_embed.yaml')
    assert [embedding.parameters for embedding in mixed.embeddings] == [(1, 1, 1, 0.5), (1, 1, 0, 1)]
    assert not mixed.coefficients[mixed.n_functions[0] :, 1].any()
    mixed.write_yaml(tmp_path / 'x.yaml')
    mixed.write_yace(tmp_path / 'x.yace')
    assert (tmp_path / 'x.yaml').read_text().count('ndensityi: 2') == 2
    assert {*re.findall(r'ndensity: (\d)', (tmp_path / 'x.yace').read_text())} == {'2'}


ALLOY, COPPER = 'AlNi_mixed_zbl.yaml', 'Cu_SBessel_nl_corerep.yaml'
BAD_YAML = [
    (COPPER, 'ndensityi: 2', 'ndensityi: two', 'block Cu: found ndensityi two, expected a whole number from 1 on'),
    (COPPER, 'ndensityi: 2', 'ndensityi: 3', 'block Cu: found parameters [1.0, 1.0, 1.0, 0.5], expected 2 numbers for'),
    (COPPER, 'ndensityi: 2', 'ndensityi: 1', 'Cu: function 1: found c shape (2,), expected numbers of shape (1,)'),
    (COPPER, 'npoti: Finn', 'npoti: Winn', 'found npoti WinnisSinclairShiftedScaled, expected one of FinnisSinclair,'),
    (COPPER, 'rho_core_cut: 3000', 'rho_core_cut: .nan', 'block Cu: found rho_core_cut nan, expected finite numbers'),
    (COPPER, 'radbase: SBessel', 'radbase: Hermite', 'block Cu: found radbase Hermite, expected one of ChebExpCos, '),
    (COPPER, 'radparameters: [5.25]', 'radparameters: []', 'found radparameters [], expected one number at least'),
    (COPPER, 'radparameters: [5.25]', 'radparameters: [x]', "found radparameters ['x'], expected a list of numbers"),
    (COPPER, 'nradbaseij: 6', 'nradbaseij: 7', 'radcoefficients shape (3, 3, 6), expected numbers of shape (3, 3, 7)'),
    (COPPER, 'lmaxi: 2', 'lmaxi: 1', 'radcoefficients'),
    (COPPER, 'rcutij: 5', 'rcutij: -5', 'block Cu: found rcutij -5.0, expected a length in Å'),
    (COPPER, '    dcutij: 0.01\n', '', 'block Cu: found dcutij nothing, expected a number'),
    (COPPER, 'inner_cutoff_type: distance', 'inner_cutoff_type: far', 'found inner_cutoff_type far, expected one of'),
    (COPPER, 'core-repulsion: [100, 1]', 'core-repulsion: [100]', 'found core-repulsion shape (1,), expected'),
    (COPPER, 'DeltaSplineBins: 0.001', 'DeltaSplineBins: 0', 'found DeltaSplineBins 0.0, expected a positive length'),
    (COPPER, 'speciesblock: Cu', 'speciesblock: Xq', 'block Xq: found element Xq, expected a chemical symbol'),
    (COPPER, 'type: Cu Cu, ', 'type: Cu Ag, ', 'function 1: found type Cu Ag, expected Cu and neighbours among Cu'),
    (COPPER, 'nr: [1], nl: [0]', 'nr: [9], nl: [0]', "found n, l 9, 0, expected at most the 6, 2 of its bond"),
    (COPPER, 'nl: [1, 1], c', 'nl: [3, 3], c', 'found n, l 1, 3, expected at most the 3, 2 of its bond'),
    (COPPER, 'nr: [1], nl: [0]', 'nr: [0], nl: [0]', 'function 1: found nr [0], expected 1 whole numbers from 1 on'),
    (COPPER, 'nr: [1], nl: [0]', 'nr: [2], nl: [0]', 'function 2: found function'),
    (COPPER, 'nl: [1, 1], c', 'nl: [1, 2], c', 'found nl, lint [1, 2], [], expected momenta with an even sum'),
    (COPPER, 'nl: [1, 1], c', 'nl: [1], c', 'found nl [1], expected 2 whole numbers'),
    (COPPER, ', lint: [2]', '', 'lint nothing, expected 1 whole numbers'),
    (COPPER, 'lint: [2]', 'lint: [9]', 'found nl, lint [0, 2, 2], [9], expected momenta'),
    (COPPER, 'species:', 'kinds:', "found no species, expected pacemaker's B-basis file"),
    (COPPER, 'ndensityi: 2', 'ndensityi: 2\n    ndensityi: 2', "line 8: found key 'ndensityi' given twice"),
    (COPPER, 'metadata:\n  comment:', 'metadata:\n  -', "found metadata ['fixture"),
    (COPPER, 'speciesblock: Cu', "speciesblock: ''", 'block : found element , expected a chemical symbol'),
    (COPPER, 'global:\n  DeltaSplineBins: 0.001', 'global: 5', 'found global 5, expected a mapping'),
    (COPPER, 'nbody:', 'functions:', 'block Cu: found nbody None, expected a list of mappings'),
    (ALLOY, 'speciesblock: Ni Al', 'speciesblock: Al Ni', 'block Al Ni: found speciesblock Al Ni again'),
    (ALLOY, 'speciesblock: Ni\n', 'speciesblock: Cu\n', 'found species blocks none of Ni alone, expected one'),
    (ALLOY, '- speciesblock: Ni Al', '- title: Ni Al', 'species block 4: found speciesblock nothing'),
    (ALLOY, 'rcutij: 4.4', 'rcutij: 4.5', 'found rcutij unlike that of the reversed pair, expected equal ones'),
    (ALLOY, 'inner_cutoff_type: zbl', 'inner_cutoff_type: distance', 'inner_cutoff_type distance and zbl, expected'),
]  # fmt: skip


@pytest.mark.parametrize(('name', 'old', 'new', 'words'), BAD_YAML)
def test_bad_yaml_is_refused_by_name(name, old, new, words, tmp_path):
    """Every message names the file, the place and key in it, what was found and what was expected."""
    path = spoilt(tmp_path, name, old, new)
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        AcePotential.read(path)
    assert str(caught.value).startswith(f'{path}: ')
    assert ': found ' in str(caught.value) and ', expected ' in str(caught.value)


BAD_YACE = [
    ('elements: [Al, Ni]', 'elements: [Al, Al]', "found elements ['Al', 'Al'], expected a list of symbols, each once"),
    ('elements: [Al, Ni]', 'elements: [Al, Cu, Ni]', 'found E0 shape (2,), expected numbers of shape (3,)'),
    ('elements: [Al, Ni]', 'elements: [Al, Qq]', 'found element Qq, expected a chemical symbol'),
    ('E0: [0, 0]', 'E0: [0, nan]', "found E0 [0, 'nan'], expected finite numbers"),
    ('\n  1: {ndensity: 2', '\n  2: {ndensity: 2', 'embeddings: found 1 None, expected a mapping for every element'),
    ('npoti: FinnisSinclair,', 'npoti: Power,', 'embeddings: 0: found npoti Power, expected one of FinnisSinclair'),
    ('\n  [1, 0]: ', '\n  [1, 2]: ', 'bonds: found [1, 0] None, expected a mapping for every ordered pair'),
    ('radbasename: SBessel', 'radbasename: ACE.jl.base', '[0, 1]: found radbasename ACE.jl.base, expected one of'),
    ('radbasename: SBessel', 'radbasename: Tabulated', 'tabulated functions of other programs are not read'),
    ('rcut: 4.4000000000000004', 'rcut: 0', 'bonds: [0, 1]: found rcut 0.0, expected a length in Å'),
    ('rank: 1', 'rank: 2', 'element Al: function 1: found mus [0], expected 2 whole numbers'),
    ('mus: [0]', 'mus: [4]', 'function 1: found mus [4], expected elements 0 to 1'),
    ('num_ms_combs: 1', 'num_ms_combs: 2', 'function 1: found ms_combs [0], expected 2 whole numbers'),
    ('ms_combs: [0]', 'ms_combs: [1]', 'function 1: found ms_combs [1], expected |m| within ls [0] and a sum of 0'),
    ('ms_combs: [0, 0, 1, -1]', 'ms_combs: [0, 0, 1, 1]', 'found ms_combs [1, 1], expected |m| within ls [1, 1]'),
    ('ms_combs: [0, 0, 1, -1]', 'ms_combs: [0, 0, 0, 0]', 'expected a combination of the 1 invariant couplings'),
    ('ls: [0]', 'ls: [2]', 'expected a combination of the 0 invariant couplings'),
    ('ctildes: [', 'ctildes: [1, ', 'function 1: found ctildes'),
    ('\nfunctions:', '\nproducts:', "found no functions, expected LAMMPS's C-tilde file (.yace)"),
]  # fmt: skip


@pytest.mark.parametrize(('old', 'new', 'words'), BAD_YACE)
def test_bad_yace_is_refused_by_name(old, new, words, tmp_path):
    AcePotential.read(MIXED / ALLOY).write_yace(tmp_path / 'good.yace')
    path = spoilt(tmp_path, tmp_path / 'good.yace', old, new)
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        AcePotential.read(path)
    assert str(caught.value).startswith(f'{path}: ')


@pytest.mark.parametrize('ending', ['yaml', 'yace'])
@pytest.mark.parametrize('ours', [True, False])
def test_truncated_files_are_refused(ending, ours, tmp_path):
    """Cut anywhere. pacemaker's own files state no number of functions: between two of them a cut does not show."""
    source = FIXTURES / f'Cu_SBessel_nl.{ending}'
    text = source.read_text()
    if ours:
        getattr(AcePotential.read(source), f'write_{ending}')(tmp_path / 'whole')
        text = (tmp_path / 'whole').read_text()
    path = tmp_path / f'cut.{ending}'
    for length in [*np.linspace(0, len(text) - 3, 80).astype(int), *range(1600, 1800)]:
        path.write_text(text[:length])
        if ours or not re.search(r'c(tildes)?: \[[^]]*\]\}$', text[:length].rstrip()):
            with pytest.raises(ValueError, match='cut') as caught:
                AcePotential.read(path)
            assert 'expected' in str(caught.value)


def test_binary_and_empty_files_are_refused(tmp_path):
    path = tmp_path / 'x.yaml'
    for content in (b'', b'\xff\xfe\x00binary', b'- 1\n- 2\n', b'species: 5\n', b'species: []\n', b'species: [1]\n'):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r'x\.yaml: .*expected'):
            AcePotential.read(path)
    with pytest.raises(FileNotFoundError):
        AcePotential.read(tmp_path / 'none.yaml')


@pytest.mark.parametrize(
    ('stored', 'found'),
    [
        ('{"Al": -1.5, "Ni": -2.5, "shift": 0.25}', {'Al': -1.75, 'Ni': -2.75}),
        ('{"Ni": -2.5}', {'Al': 0.0, 'Ni': -2.5}),
        ('-3', {'Al': -3.0, 'Ni': -3.0}),
    ],
)
def test_reference_energies_are_where_pacemaker_keeps_them(stored, found, tmp_path):
    """Its energy_corrected is energy - Σ E0 + n shift, so that the free atom counts E0 - shift."""
    path = spoilt(tmp_path, MIXED / ALLOY, 'metadata:\n', f"metadata:\n  reference_energy: '{stored}'\n")
    assert AcePotential.read(path).reference_energies == found
    written = AcePotential.read(MIXED / ALLOY).with_reference_energies(found)
    written.write_yaml(tmp_path / 'x.yaml')
    written.write_yace(tmp_path / 'x.yace')
    assert [AcePotential.read(tmp_path / name).reference_energies for name in ('x.yaml', 'x.yace')] == [found, found]


def test_reference_energies_under_their_former_name_are_read(tmp_path):
    """Files that this package wrote at first keep them elsewhere: they must not read as zero."""
    line = 'metadata:\n  reference_energies: \'{"Al": -1.5, "Ni": -2.5}\'\n'
    path = spoilt(tmp_path, MIXED / ALLOY, 'metadata:\n', line)
    assert AcePotential.read(path).reference_energies == {'Al': -1.5, 'Ni': -2.5}


@pytest.mark.parametrize('stored', ['"VASP_PBE"', 'auto', '{"Al": "x"}'])
def test_reference_energies_that_are_none_are_refused(stored, tmp_path):
    path = spoilt(tmp_path, MIXED / ALLOY, 'metadata:\n', f"metadata:\n  reference_energy: '{stored}'\n")
    with pytest.raises(ValueError, match=r'metadata: .*expected'):
        AcePotential.read(path)


def test_older_and_shorter_forms_are_read(tmp_path):
    """Flat radial coefficients, a lone coefficient, a pair defined once, functions marked as skipped."""
    name = 'Cu_SBessel_lin.yaml'
    expected = AcePotential.read(FIXTURES / name)
    text = (FIXTURES / name).read_text()
    flat = expected.bonds[0, 0].coefficients.transpose(2, 0, 1).ravel().tolist()
    text = re.sub(r'radcoefficients: .*', f'radcoefficients: {flat}', text)
    text = re.sub(r'c: \[([^]]*)\]', r'c: \1', text)
    (tmp_path / 'x.yaml').write_text(text)
    assert_same(AcePotential.read(tmp_path / 'x.yaml'), expected, 0.0)
    (tmp_path / 'x.yaml').write_text(text.replace('nr: [1], nl: [0], c', 'nr: [1], nl: [0], skip: true, c', 1))
    assert AcePotential.read(tmp_path / 'x.yaml').functions[0] == expected.functions[0][1:]
    alloy = (MIXED / ALLOY).read_text()
    head = alloy.index('nradmaxi', alloy.index('speciesblock: Ni Al'))
    (tmp_path / 'x.yaml').write_text(alloy[:head] + alloy[alloy.index('nbody', head) :])
    assert_same(AcePotential.read(tmp_path / 'x.yaml'), AcePotential.read(MIXED / ALLOY), 0.0)


def test_yace_of_other_element_and_factor_order(tmp_path):
    """Elements out of the alphabet and factors in any order give the same potential."""
    potential = AcePotential.read(MIXED / ALLOY).with_reference_energies({'Al': -1.0, 'Ni': -2.0})
    potential.write_yace(tmp_path / 'x.yace')
    document = read_yace(tmp_path / 'x.yace')
    lines = ['elements: [Ni, Al]', 'E0: [-2, -1]', 'deltaSplineBins: 0.001', 'embeddings:']
    lines += [f'  {1 - key}: {value}' for key, value in document['embeddings'].items()]
    lines += ['bonds:']
    for key, value in document['bonds'].items():
        lines.append(f'  [{1 - int(key[0])}, {1 - int(key[2])}]: {value}')
    lines += ['functions:']
    for key, functions in document['functions'].items():
        lines.append(f'  {1 - key}:')
        for f in functions:
            ms = np.reshape(f['ms_combs'], (-1, f['rank']))[:, ::-1].ravel().tolist()
            f |= {'mus': [1 - mu for mu in f['mus'][::-1]], 'ns': f['ns'][::-1], 'ls': f['ls'][::-1], 'ms_combs': ms}
            lines.append(f'    - {f}')
    (tmp_path / 'y.yace').write_text('\n'.join(lines))
    assert_same(AcePotential.read(tmp_path / 'y.yace'), potential, 1e-15)


def test_small_coefficients_are_not_taken_for_round_off(tmp_path):
    mixed = AcePotential.read(FIXTURES / 'AlNi_ChebPow_mixed_embed.yaml')
    sizes = 10.0 ** -np.random.default_rng(0).uniform(0, 8, size=(len(mixed.coefficients), 1))
    potential = mixed.with_coefficients(mixed.coefficients * sizes)
    potential.write_yace(tmp_path / 'x.yace')
    assert_same(AcePotential.read(tmp_path / 'x.yace'), potential, 1e-15)


def test_entries_of_one_product_are_added_as_lammps_does(tmp_path):
    path = spoilt(tmp_path, 'Cu_SBessel_lin.yace', 'ns: [2], ls', 'ns: [1], ls')
    found, whole = AcePotential.read(path), AcePotential.read(FIXTURES / 'Cu_SBessel_lin.yaml')
    assert found.functions[0] == (whole.functions[0][0], *whole.functions[0][2:])
    assert found.coefficients[0] == whole.coefficients[:2].sum()


def test_pairs_that_differ_by_direction_have_no_yaml(tmp_path):
    potential = binary_potential()
    other = replace(potential.bonds[0, 1], cutoff=4.0)
    lopsided = replace(potential, bonds={**potential.bonds, (0, 1): other})
    with pytest.raises(ValueError, match='bond Al Ni: found cutoff unlike that of the reversed pair'):
        lopsided.write_yaml(tmp_path / 'x.yaml')
    lopsided.write_yace(tmp_path / 'x.yace')
    assert AcePotential.read(tmp_path / 'x.yace').digest == lopsided.digest
