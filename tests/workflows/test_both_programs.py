"""One WorkChain, two programs: what `pyacemaker-lmp` says, a LAMMPS with ML-PACE says, too."""

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk
from fit_examples import BASELINE, ELEMENTS, labelled_frames, true_potential

from aiida_pyacemaker.data.ace_potential import AcePotentialData
from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.science.ace.active_set import active_set_from
from aiida_pyacemaker.science.student import Student, write_canary
from aiida_pyacemaker.workflows.explore import ExplorationWorkChain

MD = {'n_steps': 60, 'restart_every': 20, 'dump_every': 20, 'timestep_ps': 0.0005, 'temperature_start_K': 600.0}


@pytest.fixture
def potential(tmp_path):
    """Two elements, baseline in a table, active set, a canary off the training frames."""
    ace, frames = true_potential(), list(labelled_frames(8, 1).iter_atoms())
    active_set = active_set_from(ace, frames, complete=True)
    ace.write_yaml(tmp_path / 'potential.yaml')
    active_set.write(tmp_path / 'potential.asi')
    (tmp_path / 'baseline.json').write_text(BASELINE.to_json())
    BASELINE.write_lammps_table(tmp_path / 'baseline.table')
    write_canary(tmp_path, Student(potential=ace, active_set=active_set, baseline=BASELINE), tilted(seed=5, size=2))
    return AcePotentialData.from_folder(tmp_path).store()


def tilted(*, seed, size):
    atoms = bulk('Al', 'fcc', a=3.8, cubic=True) * (size, size, size)
    rng = np.random.default_rng(seed)
    atoms.symbols = rng.choice(ELEMENTS, len(atoms))
    strain = np.array([[1.0, 0.0, 0.0], [0.1, 1.02, 0.0], [-0.07, 0.12, 0.98]])
    atoms.set_cell(atoms.cell[:] @ strain, scale_atoms=True)
    atoms.positions += rng.normal(scale=0.03, size=(len(atoms), 3))
    return atoms


@pytest.fixture
def explore(potential, serial_options):
    structure = AtomicDatasetData.from_atoms(tilted(seed=2, size=2)).store()

    def run(code, md, thresholds):
        outputs, node = run_get_node(
            ExplorationWorkChain,
            lammps_code=code,
            potential=potential,
            structure=structure,
            md=orm.Dict({**MD, **md}),
            thresholds=orm.Dict(thresholds),
            options=serial_options,
        )
        (run,) = (called for called in node.called_descendants if called.process_label == 'LammpsCalculation')
        return outputs, node, run

    return run


def test_two_elements_with_baseline_canary_and_barostat(explore, lammps_code):
    quiet = {'threshold_add_train': 1e6, 'threshold_call_dft': 1e7, 'threshold_danger': 1e8}
    outputs, node, _ = explore(lammps_code, {'ensemble': 'npt', 'barostat': 'tri', 'pressure_end_GPa': 1.0}, quiet)
    assert node.is_finished_ok, node.exit_message
    assert outputs['outcome'].value == 'goal'
    canary = outputs['summary']['canary']
    assert canary['sum_gamma']['found'] == pytest.approx(canary['sum_gamma']['expected'], rel=1e-9)
    cells = outputs['frames'].get_frames().cells
    assert not np.allclose(cells[0], cells[-1], atol=1e-6)


@pytest.mark.parametrize('ensemble', ['nvt', 'npt'])
def test_both_programs_say_the_same(explore, lammps_code, stock_lmp_code, ensemble):
    """Energies with those of free atoms, pressure, γ, frames and the step of the halt."""
    md = {'ensemble': ensemble, 'barostat': 'tri', 'pressure_end_GPa': 1.0}
    quiet = {'threshold_add_train': 1e6, 'threshold_call_dft': 1e7, 'threshold_danger': 1e8}
    found = [explore(code, md, quiet) for code in (lammps_code, stock_lmp_code)]
    for _, node, _ in found:
        assert node.is_finished_ok, node.exit_message
    ours, stock = (run.outputs.thermo for _, _, run in found)
    for name in ours.get_arraynames():
        assert stock.get_array(name) == pytest.approx(ours.get_array(name), rel=1e-7, abs=1e-4), name
    ours, stock = (run.outputs.gamma.get_array('max_gamma') for _, _, run in found)
    assert stock == pytest.approx(ours, rel=1e-7)
    ours, stock = (outputs['frames'].get_frames() for outputs, _, _ in found)
    assert np.abs(ours.positions - stock.positions).max() < 1e-8
    grades = found[0][2].outputs.gamma.get_array('max_gamma')
    call = float(np.sort(grades)[-4:-2].mean())  # between two grades: the largest three of seven checks are over
    rule = {'threshold_add_train': 0.5 * call, 'threshold_call_dft': call, 'threshold_danger': 1e8, 'smooth_steps': 2}
    halts = [explore(code, md, rule)[0]['summary']['halts'] for code in (lammps_code, stock_lmp_code)]
    assert halts[0] == halts[1]
    assert halts[0], grades
