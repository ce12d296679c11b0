"""What cutting costs a label: the error of a core force, as the fidelity benchmark measured it, and its weight."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from ase.data import covalent_radii
from ase.data.vdw_alvarez import vdw_radii
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from ..ace.weights import RowWeights
from ..frames import SHELL_CORE
from ..images import FrameIndex, images_near
from .charges import electronegativity
from .label_geometry import LabelGeometry

TABLE = 'label_noise.json'
ACCURACY_eV_per_A = RowWeights.scales['forces']
FURTHEST_A = 9.0  # atoms missing beyond that are not felt
MOVED_A = 0.6  # an atom of the frame that was relaxed is not missing
N_SHELLS = 64
POLAR = 0.5  # on Pauling's scale; 0.3 in silane, 1.2 in water
SILICON, SILANE = 14, [14, 1, 1, 1, 1]  # atomic numbers: what the laws were measured on


@dataclass(frozen=True, kw_only=True)
class NoiseLaw:
    """The rms error of a force component, ``amplitude`` exp(-d / ``length``) eV/Å, at the depth d of its atom.

    The depth (Å) is the distance to the nearest atom of the frame that the label geometry lacks; for the outermost
    core atoms it is the buffer radius and ``offset`` on average.
    """

    amplitude_eV_per_A: float
    length_A: float
    offset_A: float

    def at_depth(self, depth_A: ArrayLike) -> NDArray[np.float64]:
        """Return the noise (eV/Å) of atoms at depths of any shape."""
        return np.asarray(self.amplitude_eV_per_A * np.exp(-np.asarray(depth_A, dtype=float) / self.length_A))


def label_noise(policy: str, core_radius: float, buffer_radius: float) -> float:
    r"""Return the rms error (eV/Å a component) that cutting leaves on core forces; 0 for ``whole_frame``.

    .. math:: \sigma^2 = \int_0^R \frac{3 r^2}{R^3} \sigma^2(R - r + b + d_0)\,dr

    with core radius R, buffer radius b (Å) and the offset :math:`d_0` of the policy's law, from ``label_noise.json``,
    which ``benchmarks/cutout_fidelity/tables.py`` writes. ``ValueError`` for a policy that was not measured.
    """
    if policy == 'whole_frame':
        return 0.0
    law = noise_law(policy)
    # midpoints of shells of equal volume
    radii = core_radius * ((np.arange(N_SHELLS) + 0.5) / N_SHELLS) ** (1 / 3)
    noise = law.at_depth(core_radius - radii + buffer_radius + law.offset_A)
    return float(np.sqrt(np.mean(noise**2)))


def noise_law(policy: str) -> NoiseLaw:
    """Return the law of a policy; ``ValueError`` where there is none."""
    laws = _read_laws()
    if policy not in laws:
        raise ValueError(f'no label noise is known for the policy {policy!r}, known: {", ".join(laws)}, whole_frame')
    return laws[policy]


@cache
def _read_laws() -> dict[str, NoiseLaw]:
    rows = json.loads(files(__package__).joinpath(TABLE).read_text())['policies']
    names = ('amplitude_eV_per_A', 'length_A', 'offset_A')
    return {policy: NoiseLaw(**{name: row[name] for name in names}) for policy, row in rows.items()}


def core_depths(frame: FrameIndex, epicentre: int, label: LabelGeometry) -> NDArray[np.float64]:
    """Return (n_core,) Å, how far each core atom is from the nearest atom of the frame that ``label`` lacks.

    In the order of the core atoms of ``label``; at most ``FURTHEST_A``. In a periodic box what lies behind a seam is
    lacking, though an atom like it may be there.
    """
    core = label.shell == SHELL_CORE
    centre = int(np.flatnonzero(core & (label.parents == epicentre))[0])
    places = label.atoms.positions - label.atoms.positions[centre]
    near = images_near(frame, epicentre, places[core], radius=FURTHEST_A).positions
    missing = near[cKDTree(places[label.parents >= 0]).query(near)[0] > MOVED_A]
    if not len(missing):
        return np.full(int(core.sum()), FURTHEST_A)
    return np.minimum(np.asarray(cKDTree(missing).query(places[core])[0]), FURTHEST_A)


def core_noise(frame: FrameIndex, epicentre: int, label: LabelGeometry) -> NDArray[np.float64]:
    """Return (n_core,) eV/Å, the noise of the label of each core atom.

    That of the law at the depth times :func:`depth_scale`. 0 where nothing was cut, nan for a policy that was not
    measured, for molecules with an atom whose size is not known, and for polar ones.
    """
    n_core = int((label.shell == SHELL_CORE).sum())
    if label.is_whole_frame:
        return np.zeros(n_core)
    if label.policy not in _read_laws():
        return np.full(n_core, np.nan)
    return noise_law(label.policy).at_depth(depth_scale(label) * core_depths(frame, epicentre, label))


def depth_scale(label: LabelGeometry) -> float:
    """Return what makes a depth in ``label`` (covalent or molecular) one in the substance that the law was measured on.

    Depths count in bonds and contacts, not in Å. Covalent: silicon's covalent radius over the mean of the cluster's,
    without hydrogen, which is no link of a network. Molecular: the mean van der Waals radius of silane over that of the
    molecules (Alvarez, Dalton Trans. 42, 8617 (2013)), nan where one is not known. Also nan for elements that make
    polar bonds: what water leaves out has a field, that of silane hardly any.
    """
    numbers = label.atoms.numbers[label.parents >= 0]
    if label.policy == 'molecular':
        if np.ptp(electronegativity(numbers)) > POLAR:
            return float('nan')
        return float(vdw_radii[SILANE].mean() / vdw_radii[numbers].mean())
    links = numbers[numbers != 1] if (numbers != 1).any() else numbers
    return float(covalent_radii[SILICON] / covalent_radii[links].mean())


def noise_weight(noise_eV_per_A: ArrayLike) -> NDArray[np.float64]:
    """Return what a force of this noise counts in a fit, s² / (s² + σ²), 1 for one without noise or of unknown (nan).

    1/σ² above the accuracy s that the fit aims at, 0.1 eV/Å; below it the student's own error is what limits.
    """
    noise = np.nan_to_num(np.asarray(noise_eV_per_A, dtype=float))
    return np.asarray(1.0 / (1.0 + (noise / ACCURACY_eV_per_A) ** 2))
