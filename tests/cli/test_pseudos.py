"""Pseudopotential families: what a header says, and what is refused."""

import pytest

from aiida_pyacemaker.cli.pseudos import collect_headers, ensure_family, read_header, recommended_cutoffs

UPF_2 = """<UPF version="2.0.1">
<PP_INFO>
Element: {element}
</PP_INFO>
<PP_HEADER element="{element} " functional="{functional}" z_valence="4.0" wfc_cutoff="{wfc}" rho_cutoff="{rho}"/>
</UPF>
"""
UPF_1 = """<PP_HEADER>
   0                   Version Number
  C                    Element
   US                  Ultrasoft pseudopotential
    T                  Nonlinear Core Correction
 SLA  PW   PBE  PBE     PBE  Exchange-Correlation functional
    4.00000000000      Z valence
</PP_HEADER>
"""


def write(folder, name, *, element, functional='SLA PZ NOGX NOGC', wfc='0.0', rho='0.0'):
    path = folder / name
    path.write_text(UPF_2.format(element=element, functional=functional, wfc=wfc, rho=rho))
    return path


def test_header_of_both_versions(tmp_path):
    path = write(tmp_path, 'Si.UPF', element='Si', functional=' SLA  PW   PBX  PBC', wfc='4.4e1', rho='1.7D2')
    new = read_header(path)
    assert (new.element, new.functional, new.cutoff_wfc, new.cutoff_rho) == ('Si', 'PBE', 44.0, 170.0)
    old = tmp_path / 'C.UPF'
    old.write_text(UPF_1)
    header = read_header(old)
    assert (header.element, header.functional, header.cutoff_wfc) == ('C', 'PBE', None)


def test_every_spelling_of_a_functional_is_one(tmp_path):
    spellings = [' SLA  PZ   NOGX NOGC', 'PZ', 'LDA                 ']
    files = [write(tmp_path, f'{words[:4]}.UPF', element='Si', functional=words) for words in spellings]
    assert {read_header(file).functional for file in files} == {'LDA'}


def test_mixed_functionals_are_refused_by_name(tmp_path):
    write(tmp_path, 'Si.pz.UPF', element='Si')
    write(tmp_path, 'H.pbe.UPF', element='H', functional='PBE')
    with pytest.raises(ValueError, match=r'mixed functionals.*LDA: Si\.pz\.UPF; PBE: H\.pbe\.UPF'):
        collect_headers([tmp_path])
    assert [header.element for header in collect_headers([tmp_path], 'pbe')] == ['H']


def test_two_files_for_an_element_and_none_at_all_are_refused(tmp_path):
    write(tmp_path, 'Si.a.UPF', element='Si')
    write(tmp_path, 'Si.b.upf', element='Si')
    with pytest.raises(ValueError, match=r'Si: Si\.a\.UPF, Si\.b\.upf'):
        collect_headers([tmp_path])
    with pytest.raises(ValueError, match='no UPF file of functional PBESOL'):
        collect_headers([tmp_path], 'PBESOL')
    stranger = tmp_path / 'note.txt'
    stranger.write_text('hello')
    with pytest.raises(ValueError, match=r'note\.txt: no element'):
        collect_headers([stranger])


def test_cutoffs_come_from_the_header_or_the_person(tmp_path):
    silent = read_header(write(tmp_path, 'Si.UPF', element='Si'))
    speaking = read_header(write(tmp_path, 'H.UPF', element='H', wfc='20', rho='30'))
    assert recommended_cutoffs([silent, speaking], None) is None
    assert recommended_cutoffs([speaking], None) == {'H': {'cutoff_wfc': 20.0, 'cutoff_rho': 80.0}}
    assert recommended_cutoffs([silent], (16.0, 100.0)) == {'Si': {'cutoff_wfc': 16.0, 'cutoff_rho': 100.0}}


@pytest.mark.usefixtures('aiida_profile_clean')
def test_family_is_made_once_and_not_overwritten(tmp_path):
    from aiida import orm

    headers = collect_headers([write(tmp_path, 'Si.UPF', element='Si'), write(tmp_path, 'H.UPF', element='H')])
    assert ensure_family(headers, None, (16.0, 64.0)).state == 'made'
    assert ensure_family(headers, None, (16.0, 64.0)).state == 'there'
    family = orm.load_group('pyacemaker/LDA')
    assert sorted(family.elements) == ['H', 'Si']
    assert family.get_recommended_cutoffs(elements='Si', unit='Ry') == (16.0, 64.0)
    other = collect_headers([write(tmp_path, 'Si2.UPF', element='Si', wfc='20')])
    assert ensure_family(other, None, None).state == 'refused'
