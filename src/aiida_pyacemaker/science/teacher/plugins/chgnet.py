"""CHGNet as a teacher: the example of a plug-in, with weights that its package brings along.

B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.geometry import complete_cell
from ase.stress import full_3x3_to_voigt_6_stress
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray

from ...config import ChgnetTeacherConfig
from ..engine import CommitteeLabels, Dtype, Engine
from ..registry import file_sha256

N_EMBEDDED, NEVER_TRAINED = 94, ('Po', 'At', 'Rn', 'Fr', 'Ra')
ELEMENTS = tuple(sorted(set(chemical_symbols[1 : N_EMBEDDED + 1]) - set(NEVER_TRAINED)))
LICENCE = 'BSD-3-Clause'
N_FEATURES = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class ChgnetEngine(Engine):
    """One CHGNet; energies and their derivatives with respect to fractional coordinates and lattice in one sweep."""

    PACKAGES: ClassVar[tuple[str, ...]] = ('chgnet', 'pymatgen', 'torch')

    model: Any

    def evaluate(self, structures: Sequence[Atoms]) -> CommitteeLabels:
        """Label all structures at once; a structure with an isolated atom is refused, as CHGNet itself does."""
        import torch

        energy, stress = np.full(len(structures), np.nan), np.full((len(structures), 6), np.nan)
        starts = np.cumsum([0, *map(len, structures)])
        forces = np.full((starts[-1], 3), np.nan)
        graphs = [self._graph(atoms) for atoms in structures]
        rows = [row for row, graph in enumerate(graphs) if graph is not None]
        if rows:
            chosen = [graphs[row].to(self.device) for row in rows]
            leaves = [[graph.atom_frac_coord for graph in chosen], [graph.lattice for graph in chosen]]
            sizes = torch.tensor([len(structures[row]) for row in rows], device=self.device)
            said = self.model(chosen, task='e')['e'] * (sizes if self.model.is_intensive else 1)
            slopes = [_numpy(slope) for slope in torch.autograd.grad(said.sum(), [*leaves[0], *leaves[1]])]
            energy[rows] = _numpy(said)
            for row, by_fraction, by_lattice in zip(rows, slopes[: len(rows)], slopes[len(rows) :], strict=True):
                cell = boxed_cell(structures[row], self.cutoff)
                forces[starts[row] : starts[row + 1]] = -by_fraction @ np.linalg.inv(cell).T
                if structures[row].pbc.all():
                    virial = cell.T @ by_lattice
                    stress[row] = full_3x3_to_voigt_6_stress((virial + virial.T) / 2 / abs(np.linalg.det(cell)))
        return CommitteeLabels(energy=energy[None], forces=forces[None], stress=stress[None])

    def describe(self, structures: Sequence[Atoms]) -> NDArray[np.float64]:
        """Return (m, 64), the features of atoms before the last convolution; NaN where a structure is refused."""
        import torch

        starts = np.cumsum([0, *map(len, structures)])
        features = np.full((starts[-1], N_FEATURES), np.nan)
        graphs = [self._graph(atoms) for atoms in structures]
        rows = [row for row, graph in enumerate(graphs) if graph is not None]
        if rows:
            with torch.no_grad():
                said = self.model([graphs[row].to(self.device) for row in rows], return_atom_feas=True)
            for row, block in zip(rows, said['atom_fea'], strict=True):
                features[starts[row] : starts[row + 1]] = _numpy(block)
        return features

    def _graph(self, atoms: Atoms) -> Any:
        """Return the structure as CHGNet's own graph, or ``None`` when an atom has no neighbour.

        The graph is what CHGNet's converter makes, from a neighbour list that needs no pymatgen structure.
        """
        import torch
        from chgnet.graph.crystalgraph import CrystalGraph

        cell, converter = boxed_cell(atoms, self.cutoff), self.model.graph_converter
        lists = neighbour_list(
            'ijSd', positions=atoms.positions, cell=cell, pbc=np.ones(3, bool),
            numbers=np.ones(len(atoms), np.int32), cutoff=self.cutoff,
        )  # fmt: skip
        first, second, images, distance = lists
        if len(np.unique(first)) < len(atoms):
            return None
        graph = converter.create_graph(
            len(atoms), first.astype(np.int64), second.astype(np.int64), images.astype(np.int64), distance
        )
        pairs, merged = graph.adjacency_list()
        angles, representatives = graph.line_graph_adjacency_list(cutoff=converter.bond_graph_cutoff)
        real, whole = torch.float32, torch.int32
        return CrystalGraph(
            atomic_number=torch.tensor(atoms.numbers, dtype=whole),
            atom_frac_coord=torch.tensor(atoms.positions @ np.linalg.inv(cell), dtype=real, requires_grad=True),
            atom_graph=torch.tensor(pairs, dtype=whole),
            neighbor_image=torch.tensor(images, dtype=real),
            directed2undirected=torch.tensor(merged, dtype=whole),
            undirected2directed=torch.tensor(representatives, dtype=whole),
            bond_graph=torch.tensor(angles, dtype=whole),
            lattice=torch.tensor(cell, dtype=real, requires_grad=True),
            atom_graph_cutoff=self.cutoff,
            bond_graph_cutoff=converter.bond_graph_cutoff,
        )


def boxed_cell(atoms: Atoms, cutoff: float) -> NDArray[np.float64]:
    """Return a cell (3, 3) Å that is periodic for a model that knows no other: free sides hold atoms and a vacuum.

    A free side is as long as the atoms reach along its normal, plus twice ``cutoff``: no atom sees an image across it.
    """
    free = np.flatnonzero(~atoms.pbc)
    if not len(free):
        return np.array(atoms.cell[:])
    cell = np.array(atoms.cell[:])
    cell[free] = 0.0
    cell = np.array(complete_cell(cell))  # free sides: unit vectors, orthogonal to the others
    for axis in free:
        cell[axis] *= np.ptp(atoms.positions @ cell[axis]) + 2 * cutoff
    return cell


def open_chgnet(settings: Mapping[str, Any], *, dtype: Dtype, device: str | None) -> ChgnetEngine:
    """Return CHGNet with the weights that the settings name; dtype: it has float32 only, whatever is asked for.

    Raise ``ValueError`` for unknown weights, ``ImportError`` naming the extra when the package is missing.
    """
    import torch

    config = ChgnetTeacherConfig.model_validate(dict(settings))
    try:
        import chgnet.model
    except ImportError as error:
        raise ImportError(f'{error}; pip install "aiida-pyacemaker[chgnet]"') from error
    where = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    model = chgnet.model.CHGNet.load(model_name=config.model, use_device=where, verbose=False)
    model.requires_grad_(False)
    weights = sorted((Path(chgnet.model.__file__).parents[1] / 'pretrained' / config.model).glob('*.pth.tar'))
    return ChgnetEngine(
        elements=ELEMENTS,
        cutoff=float(model.graph_converter.atom_graph_cutoff),
        dtype='float32',
        device=where,
        sha256=(file_sha256(weights[0]),),
        licence=LICENCE,
        model=model.eval(),
    )


def _numpy(tensor: Any) -> NDArray[np.float64]:
    return np.asarray(tensor.detach().cpu().numpy(), dtype=np.float64)
