"""A periodic box about an epicentre: the cell of the nearest images, seams where the crystal repeats itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ...config import CutoutConfig
from ...images import Images
from ..label_geometry import CutRequest, LabelGeometry, RejectedCutoutError, TooLargeError
from ..shells import Surroundings, survey
from .bonding import small_molecules
from .translations import Translations, nearest_distance

Array = NDArray[np.float64]

MOST_VECTORS = 40  # shortest translations that boxes are made of
MOST_REDUCED = 8  # smallest cells whose shortest vectors are looked for
BUFFER_STEP_A = 0.25
LONGEST_FACTOR = 1.5  # a compact cell has no vector longer than that times the distance of its images
CLOSEST_PACKING = 2**0.5  # (distance of the images)³ over the volume of a cell, at most
CLOSEST_SEAM = 0.72  # of the covalent sum: two atoms closer across a seam are one too many, acceptance asks 0.7
SAMPLE_A = 10.0  # holds the atoms on which translations are tried
MISFIT_A = 0.5  # a seam atom with a neighbour further off than that finds a new place
DENSITY_TOLERANCE, DENSITY_LIMIT = 0.07, 0.1  # of a box that is made to fit; of any
EDGE_STEP_A, EDGE_STEPS = 0.1, 26  # edges that are tried where nothing repeats
SHIFTS = np.array([shift for shift in product(range(-2, 3), repeat=3) if shift > (0, 0, 0)], dtype=float)


@dataclass(frozen=True, kw_only=True)
class Box:
    """Rows of the images that fill a box: (3, 3) Å, and how well its seams fit."""

    cell: Array
    rows: NDArray[np.int64]
    match: float
    n_dropped: int = 0


def reach_of_box(near: Surroundings, config: CutoutConfig) -> tuple[float, float]:
    """Return the shortest and the longest translation (Å) that a box may have: core and neighbours, then the buffer."""
    size = float(np.linalg.norm(near.images.positions[sorted(near.protected)], axis=1).max())
    smallest = 2 * size + nearest_distance(near.images)
    return smallest, LONGEST_FACTOR * (smallest + 2 * config.buffer_radius)


def check_room(shortest: float, density: float, limit: int) -> None:
    """Refuse a box that no shape of cell makes small enough; density: atoms/Å³."""
    n_atoms = density * shortest**3 / CLOSEST_PACKING
    if n_atoms > limit:
        raise TooLargeError(
            f'core and first neighbours need a box of at least {n_atoms:.0f} atoms, max_label_atoms is {limit}: raise '
            'it or lower core_radius'
        )


def survey_box(request: CutRequest, *, further: float = 0.0) -> tuple[Surroundings, float, float]:
    """Return surroundings that reach as far as the search for translations asks, and its limits (Å)."""
    close = survey(request, margin_bonds=1)
    shortest, longest = reach_of_box(close, request.config)
    return survey(request, margin_bonds=1, reach=longest + SAMPLE_A + further), shortest, longest


def crystal_box(near: Surroundings, found: Translations, need: Sequence[float], limit: int, third: Array | None) -> Box:
    """Return the smallest box whose images are all at least ``need`` (Å) apart, for the widest that holds ``limit``.

    need: wanted distances, falling. third: (3,) Å a vector that is kept, of a slab; else all three are translations.
    Raises :class:`RejectedCutoutError` when nothing repeats, :class:`TooLargeError` when none is small enough.
    """
    smallest: Box | None = None
    for distance in need:
        cell = _smallest_cell(found, distance, third)
        if cell is None:
            continue
        smallest = _fill(near, cell[0], cell[1], is_flat=third is not None)
        if len(smallest.rows) <= limit:
            return smallest
    if smallest is None:
        raise RejectedCutoutError('no three translations map the neighbourhood onto itself')
    raise TooLargeError(
        f'core and first neighbours need a box of {len(smallest.rows)} atoms, max_label_atoms is {limit}: raise it or '
        'lower core_radius'
    )


def disordered_box(images: Images, need: Sequence[float], limit: int, protected: frozenset[int], density: float) -> Box:
    """Return a cube whose density is that of the surroundings, atoms too close across its seams left out.

    density: atoms/Å³. Raises :class:`TooLargeError` when the smallest holds more than ``limit`` atoms, or none
    comes within ``DENSITY_TOLERANCE``.
    """
    for distance in need:
        edges = distance + EDGE_STEP_A * np.arange(EDGE_STEPS)
        edges = edges[density * edges**3 <= (1 + DENSITY_TOLERANCE) * limit]
        boxes = [_cube(images, float(edge), protected, wanted=round(density * edge**3)) for edge in edges]
        errors = [abs(len(box.rows) / np.linalg.det(box.cell) / density - 1) for box in boxes]
        small = [k for k, box in enumerate(boxes) if len(box.rows) <= limit and errors[k] <= DENSITY_TOLERANCE]
        if small:
            return boxes[min(small, key=lambda k: errors[k] + 0.02 * boxes[k].n_dropped)]
    raise TooLargeError(
        f'no cube of at most {limit} atoms holds core and first neighbours at the right density: raise max_label_atoms'
    )


def wanted_distances(shortest: float, config: CutoutConfig) -> list[float]:
    """Return the distances (Å) between images to ask for, from the full buffer down to none."""
    buffers = np.arange(config.buffer_radius, -BUFFER_STEP_A / 2, -BUFFER_STEP_A)
    return [shortest + 2 * max(float(buffer), 0.0) for buffer in buffers]


def _smallest_cell(found: Translations, distance: float, third: Array | None) -> tuple[Array, float] | None:
    """Return the cell of least volume whose images are all at least ``distance`` (Å) apart, and its worst match."""
    usable = np.flatnonzero(np.linalg.norm(found.vectors, axis=1) >= distance)[:MOST_VECTORS]
    vectors, matches = found.vectors[usable], found.matches[usable]
    n_free = 3 if third is None else 2
    picks = np.array(list(combinations(range(len(vectors)), n_free)), dtype=np.int64).reshape(-1, n_free)
    if not len(picks):
        return None
    cells = vectors[picks]
    if third is not None:
        cells = np.concatenate([cells, np.broadcast_to(third, (len(cells), 1, 3))], axis=1)
    shifts = SHIFTS if third is None else SHIFTS[SHIFTS[:, 2] == 0]
    shortest = np.linalg.norm(np.einsum('sk,nkd->nsd', shifts, cells), axis=2).min(axis=1)
    volumes = np.abs(np.linalg.det(cells))
    good = (shortest >= distance) & (volumes > 0.3 * np.prod(np.linalg.norm(cells, axis=2), axis=1))
    if not good.any():
        return None
    # of equally large ones the most compact
    score = np.where(good, np.round(volumes, 1) - 1e-3 * shortest, np.inf)
    for best in np.argsort(score, kind='stable')[: min(MOST_REDUCED, int(good.sum()))]:
        cell = np.asarray(minkowski_reduce(cells[best], pbc=[True, True, third is None])[0])
        if np.linalg.norm(shifts @ cell, axis=1).min() >= distance:
            return cell * (1.0 if np.linalg.det(cell) > 0 else -1.0), float(matches[picks[best]].min())
    return None


def _fill(near: Surroundings, cell: Array, match: float, *, is_flat: bool) -> Box:
    """Return the atoms nearer to the centre than to any of its images, each site of the lattice once.

    An atom on the border may be hot enough to lie outside while its image lies outside too: the border is widened and
    the nearer of two images is taken. A small molecule is inside or outside as a whole.
    """
    images = near.images
    shifts = np.concatenate([SHIFTS, -SHIFTS])
    lattice = shifts[shifts[:, 2] == 0] @ cell if is_flat else shifts @ cell
    places = _in_plane(images.positions, cell) if is_flat else images.positions
    border = 0.3 * nearest_distance(images)
    lengths = np.linalg.norm(lattice, axis=1)
    beyond = _as_molecules(near, (places @ lattice.T / lengths - lengths / 2).max(axis=1))
    candidates = np.flatnonzero(beyond <= border)
    rows = _each_site_once(images, candidates, cell, 0.5 * nearest_distance(images), beyond[candidates])
    return Box(cell=cell, rows=rows, match=match)


def _as_molecules(near: Surroundings, beyond: Array) -> Array:
    """Return ``beyond`` (n,) with its mean over the molecule where the row belongs to one."""
    pieces = small_molecules(near.images, near.neighbours)
    together = pieces >= 0
    sums = np.bincount(pieces[together], weights=beyond[together])
    counts = np.bincount(pieces[together])
    beyond = beyond.copy()
    beyond[together] = (sums / np.maximum(counts, 1))[pieces[together]]
    return beyond


def _in_plane(positions: Array, cell: Array) -> Array:
    normal = np.cross(cell[0], cell[1])
    normal = normal / np.linalg.norm(normal)
    return positions - np.outer(positions @ normal, normal)


def _each_site_once(
    images: Images, candidates: NDArray[np.int64], cell: Array, closest: float, beyond: Array
) -> NDArray[np.int64]:
    """Return the candidates without those closer than ``closest`` (Å) to an image of one further inside."""
    order = candidates[np.argsort(beyond, kind='stable')]
    images_of = np.concatenate([SHIFTS, -SHIFTS]) @ cell
    tree = cKDTree(images.positions[order])
    gone = np.zeros(len(order), dtype=bool)
    for rank in range(len(order)):
        if gone[rank]:
            continue
        for near in tree.query_ball_point(images.positions[order[rank]] + images_of, closest):
            gone[[other for other in near if other > rank]] = True
    return np.sort(order[~gone])


def _cube(images: Images, edge: float, protected: frozenset[int], *, wanted: int) -> Box:
    """Return what lies in a cube about the centre, without atoms too close to an image of one further inside.

    The gaps that these leave are filled, up to ``wanted`` atoms, by atoms from just outside.
    """
    cell = np.eye(3) * edge
    beyond = np.abs(images.positions).max(axis=1) - edge / 2
    inside = np.flatnonzero(beyond < 0.5 * nearest_distance(images))
    ranked = inside[np.lexsort((beyond[inside], ~np.isin(inside, list(protected))))]
    radii = covalent_radii[images.numbers]
    kept: list[int] = []
    for row in ranked.tolist():
        if len(kept) >= wanted:
            break
        if kept:
            difference = images.positions[kept] - images.positions[row]
            wrapped = difference - np.round(difference / edge) * edge
            limits = CLOSEST_SEAM * (radii[kept] + radii[row])
            across = np.abs(difference - wrapped).max(axis=1) > 0
            if (across & (np.linalg.norm(wrapped, axis=1) < limits)).any() and row not in protected:
                continue
        kept.append(row)
    return Box(
        cell=cell,
        rows=np.sort(np.array(kept)),
        match=0.0,
        n_dropped=int((beyond < 0).sum()) - int((beyond[kept] < 0).sum()),
    )


def assemble_box(near: Surroundings, box: Box, *, policy: str, pbc: Sequence[bool], density: float) -> LabelGeometry:
    """Return the label geometry of a box, with the misfit of its seams; density: atoms/Å³ of the surroundings.

    Raises :class:`RejectedCutoutError` when core or first neighbours are not all inside, or the density is another.
    """
    images, rows = near.images, box.rows
    missing = near.protected - set(rows.tolist())
    if missing:
        raise RejectedCutoutError(f'{len(missing)} atoms of core and first neighbours do not fit into the box')
    ratio = len(rows) / abs(float(np.linalg.det(box.cell))) / density
    if abs(ratio - 1) > DENSITY_LIMIT:
        raise RejectedCutoutError(f'the box has {ratio:.2f} times the density of the surroundings')
    misfit = seam_misfit(near, box)
    is_protected = np.isin(rows, list(near.protected))
    atoms = Atoms(numbers=images.numbers[rows], positions=images.positions[rows], cell=box.cell, pbc=list(pbc))
    atoms.positions += _to_middle(atoms)
    at_seam = misfit > 0
    report: dict[str, Any] = {
        'n_seam': int(at_seam.sum()),
        'seam_misfit_A': float(np.sqrt(np.mean(misfit[at_seam] ** 2))) if at_seam.any() else 0.0,
        'seam_match': box.match,
        'n_dropped': box.n_dropped,
        'density_ratio': ratio,
    }
    return LabelGeometry(
        atoms=atoms,
        policy=policy,
        shell=np.array(near.tags(rows.tolist()), dtype=np.int8),
        parents=images.parents[rows],
        boundary=(misfit > MISFIT_A) & ~is_protected,
        report=report,
    )


def seam_misfit(near: Surroundings, box: Box) -> Array:
    """Return (n,) Å how far the neighbours that an atom has across the seams are from those it has in the frame.

    The largest distance, over the neighbours in the frame that were left out, to the nearest atom of the periodic box,
    and over the neighbours across the seam to the nearest atom of the frame; 0 for an atom away from the seams.
    """
    images, rows = near.images, box.rows
    inside = images.positions[rows]
    copies = np.concatenate([inside + shift for shift in np.concatenate([SHIFTS, -SHIFTS]) @ box.cell])
    whole, across = cKDTree(images.positions), cKDTree(copies)
    kept = set(rows.tolist())
    bond = max((len_of_bonds(near, row) for row in near.protected), default=0.0)
    misfit = np.zeros(len(rows))
    for place, row in enumerate(rows.tolist()):
        lost = [int(other) for other in near.neighbours[row] if int(other) not in kept]
        gained = across.query_ball_point(images.positions[row], bond)
        gaps = [across.query(images.positions[lost])[0]] if lost else []
        gaps += [whole.query(copies[gained])[0]] if gained else []
        misfit[place] = max((float(gap.max()) for gap in gaps), default=0.0)
    return misfit


def len_of_bonds(near: Surroundings, row: int) -> float:
    """Return the length (Å) of the longest bond of a row, 0 without one."""
    vectors = near.images.positions[near.neighbours[row]] - near.images.positions[row]
    return float(np.linalg.norm(vectors, axis=1).max(initial=0.0))


def local_density(images: Images, reach: float) -> float:
    """Return the atoms in a cubic Ångström within ``reach`` (Å) of the centre."""
    count = int((np.linalg.norm(images.positions, axis=1) <= reach).sum())
    return count / (4 / 3 * np.pi * reach**3)


def _to_middle(atoms: Atoms) -> Array:
    """Return the shift (Å) that brings the middle of the atoms to the middle of the cell."""
    places = atoms.positions @ np.linalg.inv(atoms.cell[:])
    middle = (places.max(axis=0) + places.min(axis=0)) / 2
    return np.asarray((0.5 - middle) @ atoms.cell[:])
