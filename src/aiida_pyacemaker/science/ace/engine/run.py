"""Evaluation of neighbour lists by the fast engine, on one thread or several."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .centre_kernels import evaluate_chunks
from .columns import Array, Index, aligned
from .compiled import CompiledPotential

N_CHUNKS = 16  # of the work, each with its own forces; more threads than this have nothing to do


class NeighbourList(NamedTuple):
    """Species (n,) of all atoms, rows (c + 1,) of the first c atoms as centres, atoms (p,) and vectors (p, 3) Å."""

    species: Index
    first: Index
    neighbour: Index
    vectors: Array


class Sums(NamedTuple):
    """Energies (c,) eV without E0, forces (n, 3) eV/Å, virials (c, 6) eV, projections (c, F) padded or None."""

    energies: Array
    forces: Array
    virials: Array
    projections: Array | None


def thread_count() -> int:
    """Return the threads to use: ``OMP_NUM_THREADS``, else 1. Results do not depend on it."""
    try:
        return max(1, int(os.environ.get('OMP_NUM_THREADS', '1')))
    except ValueError:
        return 1


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Return the threads of this process; a forked child needs its own."""
    return ThreadPoolExecutor(max_workers=threads, thread_name_prefix='ace')


def centre_groups(species: Index, n_elements: int) -> tuple[Index, Index]:
    """Return groups of eight centres of one element, flat (G × 8,), filled up with -1, and their elements (G,)."""
    counts = np.bincount(species, minlength=n_elements)
    needed = -(-counts // 8)
    groups = np.full(int(needed.sum()) * 8, -1, dtype=np.int64)
    shift = np.cumsum(needed * 8) - needed * 8 - (np.cumsum(counts) - counts)
    groups[np.arange(len(species)) + np.repeat(shift, counts)] = np.argsort(species, kind='stable')
    return groups, np.repeat(np.arange(n_elements), needed)


def _scratch(potential: CompiledPotential, capacity: int, base_width: int) -> tuple[Any, ...]:
    """Return the work arrays of one thread, in the order the kernel unpacks."""
    tiles, n_values = 64 * potential.columns.n_tiles, int(potential.products.spans.n_values.max())
    n_functions = int(np.diff(potential.products.spans.functions).max())
    columns = capacity * potential.n_columns * 64 + 64
    pair = (
        aligned(capacity * potential.n_rows * 64),
        aligned(columns),
        aligned(columns),
        np.zeros(8 * (potential.n_elements + 1), dtype=np.int64),
        np.zeros(capacity * 64, dtype=np.int64),
        np.zeros(8, dtype=np.int32),
        aligned(48),
        aligned(tiles),
        aligned(potential.n_pair * 8),
        aligned(64),
        aligned(8 * potential.n_elements * base_width),
    )
    terms = len(potential.products.rights) * 8 if base_width else 0
    single = (n_values, n_values, potential.n_pair * 8, tiles, terms, n_functions * 8 if base_width else 0)
    return (pair, *(aligned(size) for size in single))


def _run_in_parts(work: Any, n_chunks: int) -> None:
    """Call ``work((begin, end))`` until all chunks are done, on as many threads as there are."""
    threads = min(thread_count(), n_chunks)
    if threads > 1:
        own, *others = pairwise(n_chunks * i // threads for i in range(threads + 1))
        elsewhere = _pool(threads, os.getpid()).map(work, others)
        work(own)  # this thread does its share: one less to wake
        list(elsewhere)
    elif n_chunks:
        work((0, n_chunks))


def evaluate_list(potential: CompiledPotential, given: NeighbourList, *, with_projections: bool = False) -> Sums:
    """Evaluate the centres of a neighbour list; entries beyond a bond's cut-off are skipped."""
    n_centres, n_atoms = len(given.first) - 1, len(given.species)
    groups, group_element = centre_groups(given.species[:n_centres], potential.n_elements)
    n_chunks = min(N_CHUNKS, len(group_element))
    chunk_first = np.arange(n_chunks + 1) * len(group_element) // max(n_chunks, 1)
    base_width = potential.base[2] if with_projections else 0
    width = max(potential.n_functions) if with_projections else 0
    found = Sums(np.zeros(n_centres), np.zeros((n_chunks, n_atoms + 1, 4)), np.zeros((n_centres, 6)), None)
    projections = np.zeros((n_centres, width))
    capacity = int(np.diff(given.first).max(initial=0)) // 8 + potential.n_elements + 1
    shape = (potential.n_elements, potential.l_max, potential.n_densities, potential.n_pair, capacity)
    arguments = (
        (chunk_first, groups, group_element),
        (*shape, potential.n_rows, potential.n_columns, potential.columns.n_tiles, base_width),
        (given.first, given.neighbour, given.vectors.reshape(-1), given.species, n_atoms),
        potential.bonds,
        potential.radial(with_base=with_projections),
        potential.elements,
        potential.terms,
        potential.projections,
    )
    results = (found.energies, found.forces.ravel(), found.virials.ravel(), projections.ravel(), width)

    def work(part: tuple[int, int]) -> None:
        evaluate_chunks(part, *arguments, _scratch(potential, capacity, base_width), results)

    _run_in_parts(work, n_chunks)
    forces = found.forces.sum(axis=0)[:n_atoms, :3]
    return found._replace(forces=forces, projections=projections if with_projections else None)
