"""Train the three small MACE committee members for Si and H that ship with this example.

The labels come from the CHGNet weights inside the ``chgnet`` wheel (BSD), so that nothing is downloaded::

    python train_teachers.py frames --work /tmp/teachers                    # first set of structures, labelled
    python train_teachers.py train --work /tmp/teachers --member 0 --epochs 24
    python train_teachers.py extend --work /tmp/teachers --member 0        # MD of a member, labelled, added to the set
    python train_teachers.py train --work /tmp/teachers --member 0 --epochs 50 --install teachers
    python judge_teachers.py --valid /tmp/teachers/valid.xyz

and so on for members 1 and 2; ``teachers/README.md`` says what came out.

These are demonstration models: good enough to melt and mend silicon, not to publish with.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import add_adsorbate, bulk, diamond100, diamond111, molecule
from ase.io import write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.neighborlist import neighbor_list

LATTICE = 5.46
SI_H = 1.48
# energies (eV) of isolated atoms on the scale of CHGNet's training data, spin-polarised PBE, rounded
E0S = {1: -1.11, 14: -0.83}
MEMBERS = ({'channels': 16, 'seed': 11}, {'channels': 16, 'seed': 12}, {'channels': 12, 'seed': 13})


def cluster(n_silicon: int) -> Atoms:
    """Return the ``n_silicon`` atoms next to a site of the diamond crystal, broken bonds capped with H at 1.48 Å."""
    crystal = bulk('Si', a=LATTICE, cubic=True) * (4, 4, 4)
    centre = crystal.positions[np.argmin(np.linalg.norm(crystal.positions - crystal.cell.sum(axis=0) / 2, axis=1))]
    order = np.argsort(np.round(np.linalg.norm(crystal.positions - centre, axis=1), 4), kind='stable')
    inside = np.zeros(len(crystal), dtype=bool)
    inside[order[:n_silicon]] = True
    first, second, vectors = neighbor_list('ijD', crystal, 2.6)
    broken = inside[first] & ~inside[second]
    caps = crystal.positions[first[broken]] + vectors[broken] * SI_H / np.linalg.norm(vectors[broken], axis=1)[:, None]
    capped = crystal[inside]
    return Atoms(['Si'] * n_silicon + ['H'] * len(caps), positions=np.vstack([capped.positions, caps]))


def boxed(atoms: Atoms, kind: str) -> Atoms:
    """Put a molecule into a periodic box with 5 Å of vacuum on each side."""
    atoms = atoms.copy()
    atoms.center(vacuum=5.0)
    atoms.pbc = True
    atoms.info['kind'] = kind
    return atoms


def shaken(atoms: Atoms, rng: np.random.Generator, *, amplitude: float, strain: float = 0.0) -> Atoms:
    """Return a copy with normal displacements of ``amplitude`` Å and a random strain of about ``strain``."""
    result = atoms.copy()
    if strain:
        deformation = rng.normal(0, strain / 2, (3, 3))
        deformation = (deformation + deformation.T) / 2 + np.eye(3) * (1 + rng.uniform(-strain, strain))
        result.set_cell(np.asarray(result.cell) @ deformation, scale_atoms=True)
    result.positions += rng.normal(0, amplitude / np.sqrt(3), result.positions.shape)
    return result


def crystals(rng: np.random.Generator) -> Iterator[Atoms]:
    """Yield strained, rattled and holed diamond, and other phases of silicon."""
    primitive, cubic, double = (
        bulk('Si', a=LATTICE),
        bulk('Si', a=LATTICE, cubic=True),
        bulk('Si', a=LATTICE) * (2, 2, 2),
    )
    for scale in np.linspace(0.72, 1.10, 25):
        yield tagged(scaled(primitive, scale), 'crystal')
    for _ in range(25):
        yield tagged(shaken(primitive, rng, amplitude=0.02, strain=0.06), 'crystal')
    for amplitude in np.linspace(0.03, 0.45, 45):
        yield tagged(shaken(cubic, rng, amplitude=amplitude, strain=rng.uniform(0, 0.07)), 'rattled')
    for amplitude in np.linspace(0.01, 0.12, 24):
        yield tagged(shaken(cubic, rng, amplitude=amplitude, strain=0.025), 'rattled')
    for amplitude in np.linspace(0.05, 0.40, 30):
        yield tagged(shaken(double, rng, amplitude=amplitude, strain=rng.uniform(0, 0.04)), 'rattled')
    for amplitude in np.linspace(0.02, 0.30, 20):
        holed = (double if rng.random() < 0.7 else cubic * (2, 2, 1)).copy()
        del holed[int(rng.integers(len(holed)))]
        yield tagged(shaken(holed, rng, amplitude=amplitude, strain=0.02), 'vacancy')
    for structure, length in (('fcc', 3.87), ('bcc', 3.09), ('sc', 2.54), ('hcp', 2.74)):
        for scale in np.linspace(0.85, 1.12, 7):
            yield tagged(
                shaken(scaled(bulk('Si', structure, a=length), scale), rng, amplitude=0.03, strain=0.02), 'phase'
            )
    for scale in np.linspace(0.9, 1.1, 7):
        tin = Atoms(
            'Si4',
            cell=[4.81, 4.81, 2.65],
            pbc=True,
            scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5), (0, 0.5, 0.25), (0.5, 0, 0.75)],
        )
        yield tagged(shaken(scaled(tin, scale), rng, amplitude=0.05, strain=0.02), 'phase')


def surfaces(rng: np.random.Generator) -> Iterator[Atoms]:
    """Yield bare and hydrogenated slabs, rattled."""
    for amplitude in np.linspace(0.03, 0.25, 10):
        for slab in (
            diamond100('Si', (1, 2, 6), a=LATTICE, vacuum=4.5),
            diamond111('Si', (1, 2, 6), a=LATTICE, vacuum=4.5),
        ):
            slab.pbc = True
            if rng.random() < 0.4:
                add_adsorbate(slab, 'H', SI_H, position=slab.positions[np.argmax(slab.positions[:, 2]), :2])
            yield tagged(shaken(slab, rng, amplitude=amplitude), 'slab')


def molecules(rng: np.random.Generator) -> Iterator[Atoms]:
    """Yield capped clusters, silanes and pairs of atoms with distorted geometries."""
    seeds = (('SiH4', molecule('SiH4'), 14), ('Si2H6', molecule('Si2H6'), 14), ('Si5H12', cluster(5), 30))
    for kind, start, count in (*seeds, ('Si17H36', cluster(17), 14), ('Si29H36', cluster(29), 8)):
        for amplitude in np.linspace(0.03, 0.28, count):
            yield boxed(shaken(start, rng, amplitude=amplitude), kind)
    for pair, distances in (
        ('H2', (0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.3, 1.7, 2.2, 3.0)),
        ('SiH', (0.9, 1.1, 1.3, 1.5, 1.8, 2.2, 2.8)),
        ('Si2', (1.2, 1.4, 1.55, 1.7, 1.9, 2.1, 2.3, 2.5, 2.8, 3.2, 3.8)),
    ):
        for distance in distances:
            yield boxed(Atoms(pair, positions=[(0, 0, 0), (0, 0, distance)]), 'pair')


def trajectories(
    calculator: object, rng: np.random.Generator, *, temperatures: tuple[float, ...], starts: list[Atoms], frames: int
) -> Iterator[Atoms]:
    """Yield snapshots of Langevin MD every 60 fs at each temperature (K; clusters at 0.4 of it) from each start."""
    for start in starts:
        for temperature in (0.4 * np.array(temperatures) if 1 in start.numbers else temperatures):
            atoms = start.copy()
            atoms.calc = calculator
            MaxwellBoltzmannDistribution(atoms, temperature_K=2 * temperature, rng=rng)
            step = 0.5 if 1 in atoms.numbers else 2.0
            dynamics = Langevin(
                atoms, step * units.fs, temperature_K=temperature, friction=0.02 / units.fs, fixcm=False, rng=rng
            )
            for _ in range(frames):
                dynamics.run(int(60 / step))
                snapshot = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
                if (
                    not np.all(np.isfinite(snapshot.positions))
                    or neighbor_list('d', snapshot, 3.0).min(initial=9.0) < 0.5
                ):
                    break
                yield tagged(snapshot, f'md-{start.info["kind"]}')


def scaled(atoms: Atoms, factor: float) -> Atoms:
    """Return a copy with all lengths times ``factor``."""
    result = atoms.copy()
    result.set_cell(np.asarray(result.cell) * factor, scale_atoms=True)
    return result


def tagged(atoms: Atoms, kind: str) -> Atoms:
    """Set ``info['kind']`` and return the structure."""
    atoms.info = {'kind': kind}
    return atoms


def labelled(structures: list[Atoms], *, max_force: float = 15.0) -> list[Atoms]:
    """Return the structures with CHGNet's energy, forces and (bulk) stress; drop what it refuses or finds absurd."""
    from chgnet.model.model import CHGNet
    from pymatgen.io.ase import AseAtomsAdaptor

    model = CHGNet.load(use_device='cpu', verbose=False)
    kept = []
    for number, atoms in enumerate(structures):
        try:
            answer = model.predict_structure(AseAtomsAdaptor.get_structure(atoms), task='efs')
        except ValueError as error:  # an isolated atom
            sys.stderr.write(f'dropped {number} {atoms.info["kind"]}: {error}\n')
            continue
        limit = max_force * (4 if atoms.info['kind'] == 'pair' else 1)  # pairs teach the wall
        if not np.isfinite(answer['e']) or np.abs(answer['f']).max(initial=0) > limit:
            sys.stderr.write(f'dropped {number} {atoms.info["kind"]}: force {np.abs(answer["f"]).max():.1f} eV/Å\n')
            continue
        whole = not any(word in atoms.info['kind'] for word in ('slab', 'Si1', 'Si2', 'Si5', 'SiH', 'pair'))
        atoms.info |= {'REF_energy': float(answer['e']) * len(atoms), 'config_stress_weight': float(whole)}
        atoms.info['REF_stress'] = np.asarray(answer['s'], dtype=float) * units.GPa
        atoms.arrays['REF_forces'] = np.asarray(answer['f'], dtype=float)
        kept.append(atoms)
    return kept


def save(work: Path, structures: list[Atoms], rng: np.random.Generator) -> None:
    """Add labelled structures to ``train.xyz`` and, one in ten, to ``valid.xyz``."""
    held_out = rng.random(len(structures)) < 0.1
    for name, wanted in (('train.xyz', False), ('valid.xyz', True)):
        write(
            work / name, [atoms for atoms, out in zip(structures, held_out, strict=True) if out == wanted], append=True
        )


def make_frames(work: Path) -> None:
    """Label the first set: generators, and MD of a Stillinger-Weber crystal up to the liquid."""
    from matscipy.calculators.manybody import Manybody
    from matscipy.calculators.manybody.explicit_forms import StillingerWeber
    from matscipy.calculators.manybody.explicit_forms.stillinger_weber import Stillinger_Weber_PRB_31_5262_Si

    rng = np.random.default_rng(1)
    structures = [*crystals(rng), *surfaces(rng), *molecules(rng)]
    starts = [tagged(bulk('Si', a=LATTICE) * (2, 2, 2), 'bulk')]
    classical = Manybody(**StillingerWeber(Stillinger_Weber_PRB_31_5262_Si))
    structures += trajectories(classical, rng, temperatures=(600.0, 1500.0, 3000.0, 5000.0), starts=starts, frames=12)
    save(work, labelled(structures), rng)


def extend(work: Path, member: int) -> None:
    """Add what a member of the committee meets in its own MD, labelled by CHGNet."""
    from mace.calculators import MACECalculator

    rng = np.random.default_rng(100 + member)
    holed = bulk('Si', a=LATTICE) * (2, 2, 2)
    del holed[0]
    slab = diamond100('Si', (2, 2, 6), a=LATTICE, vacuum=4.5)
    slab.pbc = True
    starts = [
        tagged(scaled(bulk('Si', a=LATTICE) * (2, 2, 2), 0.97), 'bulk'),
        tagged(scaled(holed, 1.01), 'bulk'),
        tagged(slab, 'slab'),
        boxed(cluster(5), 'Si5H12'),
        boxed(cluster(17), 'Si17H36'),
    ]
    calculator = MACECalculator(
        model_paths=[str(work / f'member_{member}.model')], device='cpu', default_dtype='float32'
    )
    save(
        work,
        labelled([*trajectories(calculator, rng, temperatures=(300.0, 1000.0, 2000.0), starts=starts, frames=4)]),
        rng,
    )


def train(work: Path, member: int, epochs: int) -> Path:
    """Run ``mace_run_train`` for one member and return its model file."""
    settings = MEMBERS[member]
    options = {
        'name': f'member_{member}',
        'seed': settings['seed'],
        'device': 'cpu',
        'default_dtype': 'float32',
        'work_dir': str(work),
        'model_dir': str(work),
        'train_file': str(work / 'train.xyz'),
        'valid_file': str(work / 'valid.xyz'),
        'energy_key': 'REF_energy',
        'forces_key': 'REF_forces',
        'stress_key': 'REF_stress',
        'E0s': str(E0S),
        'model': 'MACE',
        'num_channels': settings['channels'],
        'max_L': 0,
        'num_interactions': 2,
        'max_ell': 2,
        'correlation': 2,
        'r_max': 4.3,
        'num_radial_basis': 8,
        'radial_MLP': '[16,16]',
        'MLP_irreps': '8x0e',
        'loss': 'universal',
        'energy_weight': 10,
        'forces_weight': 10,
        'stress_weight': 40,
        'batch_size': 6,
        'valid_batch_size': 6,
        'lr': 0.01,
        'scheduler': 'ExponentialLR',
        'lr_scheduler_gamma': 0.02 ** (1 / epochs),
        'max_num_epochs': epochs,
        'eval_interval': 4,
        'plot': 'False',
    }
    flags = [text for key, value in options.items() for text in (f'--{key}', str(value))]
    program = Path(sys.executable).parent / 'mace_run_train'
    shutil.rmtree(work / 'checkpoints', ignore_errors=True)
    subprocess.run([program, *flags, '--ema', '--pair_repulsion', '--save_cpu'], check=True, cwd=work)
    return work / f'member_{member}.model'


def install(model: Path, target: Path) -> None:
    """Put a model where the example looks for it: single precision, gradients off."""
    import torch

    trained = torch.load(model, map_location='cpu', weights_only=False).float()
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save(trained, target)


def main() -> None:
    """Read the command line and do one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('step', choices=('frames', 'train', 'extend'))
    parser.add_argument('--work', type=Path, required=True, help='scratch folder')
    parser.add_argument('--member', type=int, default=0, choices=range(len(MEMBERS)))
    parser.add_argument('--epochs', type=int, default=100)
    parser.add_argument('--install', type=Path, help='folder of the shipped models')
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.step == 'frames':
        make_frames(arguments.work)
    elif arguments.step == 'extend':
        extend(arguments.work, arguments.member)
    else:
        model = train(arguments.work, arguments.member, arguments.epochs)
        if arguments.install:
            install(model, arguments.install / f'silicon_{arguments.member}.model')


if __name__ == '__main__':
    main()
