#!/usr/bin/env python3
"""Draw what DFT sees for every cutout policy, coloured by shell: python scripts/draw_cutouts.py [PICTURE.png]."""

from __future__ import annotations

import sys

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111, molecule, mx2
from ase.data import covalent_radii

from aiida_pyacemaker.science.config import CutoutConfig
from aiida_pyacemaker.science.cutout import LabelTheory
from aiida_pyacemaker.science.cutout.label_geometry import CutRequest, LabelGeometry
from aiida_pyacemaker.science.cutout.policies import POLICIES
from aiida_pyacemaker.science.dft.pseudo_hydrogen import cap_charge
from aiida_pyacemaker.science.frames import SHELL_BUFFER, SHELL_CAP, SHELL_CORE, SHELL_FROZEN
from aiida_pyacemaker.science.images import index_frame

SHELLS = {
    SHELL_CORE: ('#c2333b', 'core'),
    SHELL_FROZEN: ('#e8a33d', 'first neighbours'),
    SHELL_BUFFER: ('#5b8db8', 'buffer'),
    SHELL_CAP: ('#d9d9d9', 'cap'),
}
FRACTIONAL = {1.25: ('#e58fb5', 'cap of 1.25 e, on Ga'), 0.75: ('#7cc48a', 'cap of 0.75 e, on As')}
ONE_ATOM = CutoutConfig(core_radius=0.0)
THEORY = LabelTheory(cap_charges={31: cap_charge(3, 4), 33: cap_charge(5, 4)})
VIEW = np.radians([-78.0, 12.0])  # about x, then about y


def shake(atoms: Atoms, amplitude: float) -> Atoms:
    """Return hot atoms."""
    atoms.positions += np.random.default_rng(0).normal(scale=amplitude, size=atoms.positions.shape)
    return atoms


def water() -> Atoms:
    """Return a box of water molecules, each turned at random."""
    rng = np.random.default_rng(2)
    atoms = Atoms(cell=[15.5] * 3, pbc=True)
    for place in np.ndindex(5, 5, 5):
        part = molecule('H2O')
        part.euler_rotate(*rng.uniform(0, 180, 3))
        part.translate(3.1 * np.array(place) - part.get_center_of_mass())
        atoms += part
    return atoms


def make_cases() -> dict[str, tuple[str, Atoms, int, CutoutConfig]]:
    """Return title -> policy, frame, epicentre, settings."""
    silicon = bulk('Si', 'diamond', a=5.43, cubic=True)
    vacancy = silicon * (3, 3, 3)
    beside = int(np.argsort(vacancy.get_distances(100, range(len(vacancy)), mic=True))[1])
    del vacancy[100]
    aluminium = bulk('Al', 'fcc', a=4.05, cubic=True) * (5, 5, 5)
    aluminium += Atoms('Al', positions=[aluminium.positions[250] + [2.025, 0, 0]])
    arsenide = bulk('GaAs', 'zincblende', a=5.65, cubic=True) * (3, 3, 3)
    magnesia = bulk('MgO', 'rocksalt', a=4.21, cubic=True) * (4, 4, 4)
    small = CutoutConfig(core_radius=0.0, max_label_atoms=70)
    layer = mx2('MoS2', size=(8, 8, 1), vacuum=6.0)
    return {
        'covalent: Si beside a vacancy': ('covalent', shake(vacancy, 0.08), beside - (beside > 100), ONE_ATOM),
        'covalent: GaAs, fractional caps': ('covalent', shake(arsenide, 0.06), 100, ONE_ATOM),
        'molecular: water': ('molecular', water(), 186, CutoutConfig(core_radius=1.2)),
        'metal: Al, interstitial': ('metal', shake(aluminium, 0.08), 500, small),
        'ionic: MgO': ('ionic', shake(magnesia, 0.06), 200, small),
        'surface: Cu(111)': ('surface', shake(fcc111('Cu', (8, 8, 3), vacuum=5.0), 0.06), 160, small),
        'surface: MoS$_2$ layer': ('surface', shake(layer, 0.04), 96, small),
        'whole frame: Si64': ('whole_frame', shake(silicon * (2, 2, 2), 0.08), 0, ONE_ATOM),
    }


def rotate(points: np.ndarray) -> np.ndarray:
    """Return points as seen."""
    (a, b), x, z = VIEW, points[..., 0], points[..., 2]
    about_y = np.stack([x * np.cos(b) + z * np.sin(b), points[..., 1], -x * np.sin(b) + z * np.cos(b)], axis=-1)
    y, z = about_y[..., 1], about_y[..., 2]
    return np.stack([about_y[..., 0], y * np.cos(a) - z * np.sin(a), y * np.sin(a) + z * np.cos(a)], axis=-1)


def draw_cutout(ax: object, label: LabelGeometry, title: str) -> None:
    """Draw the atoms, and the box where it is periodic."""
    from matplotlib.collections import EllipseCollection

    places = rotate(label.atoms.positions)
    order = np.argsort(places[:, 2])
    sizes = 1.1 * covalent_radii[label.atoms.numbers]
    electrons = THEORY.atom_electrons(label.atoms, label.shell)
    kinds = [
        FRACTIONAL.get(count, SHELLS[SHELL_CAP]) if shell == SHELL_CAP else SHELLS[int(shell)]
        for shell, count in zip(label.shell, electrons, strict=True)
    ]
    colours = [colour for colour, _ in kinds]
    circles = EllipseCollection(
        sizes[order], sizes[order], np.zeros(len(order)), units='x', offsets=places[order, :2],
        offset_transform=ax.transData, facecolors=[colours[row] for row in order], edgecolors='#333333', linewidths=0.4,
    )  # fmt: skip
    ax.add_collection(circles)
    corners = np.array(list(np.ndindex(2, 2, 2)))
    edges = [(a, b) for a in range(8) for b in range(a) if np.abs(corners[a] - corners[b]).sum() == 1]
    box = rotate(corners @ label.atoms.cell[:])
    for first, second in edges if label.atoms.pbc.any() else []:
        ax.plot(*box[[first, second], :2].T, color='#999999', linewidth=0.6, zorder=0)
    shown = np.concatenate([places, box]) if label.atoms.pbc.any() else places
    low, high = shown[:, :2].min(axis=0) - 1.5, shown[:, :2].max(axis=0) + 1.5
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect='equal')
    ax.set_title(f'{title}\n{label.atoms.get_chemical_formula()}', fontsize=8)
    ax.axis('off')


def main(path: str) -> None:
    """Cut and draw."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot
    from matplotlib.lines import Line2D

    figure, axes = pyplot.subplots(3, 3, figsize=(9, 9))
    for ax, (title, (policy, frame, epicentre, config)) in zip(axes.flat, make_cases().items(), strict=False):
        request = CutRequest(frame=index_frame(frame), epicentre=epicentre, config=config, theory=THEORY)
        draw_cutout(ax, POLICIES[policy](request), title)
    handles = [
        Line2D(
            [],
            [],
            marker='o',
            linestyle='',
            markersize=9,
            markerfacecolor=colour,
            markeredgecolor='#333333',
            label=name,
        )
        for colour, name in [*SHELLS.values(), *FRACTIONAL.values()]
    ]
    axes.flat[-1].legend(handles=handles, loc='center', frameon=False, fontsize=9)
    axes.flat[-1].axis('off')
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == '__main__':
    main(sys.argv[1] if len(sys.argv) > 1 else 'docs/images/cutouts.png')
