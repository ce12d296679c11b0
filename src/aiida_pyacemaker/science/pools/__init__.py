"""Structures to learn from: one file a generator, screened by one rule."""

from .generators.dimers import dimer_scan
from .lattice import most_compact_supercell, relax_structure
from .make_pool import Piece, make_pool, run_piece
from .screening import Sample, Screen, count_systems, has_overlap
from .surrogates import make_surrogates

__all__ = [
    'Piece',
    'Sample',
    'Screen',
    'count_systems',
    'dimer_scan',
    'has_overlap',
    'make_pool',
    'make_surrogates',
    'most_compact_supercell',
    'relax_structure',
    'run_piece',
]
