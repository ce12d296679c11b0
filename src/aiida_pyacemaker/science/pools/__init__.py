"""Structures to learn from: one file a generator, screened by one rule."""

from .generators.alloys import IcetMissing
from .generators.dimers import dimer_scan
from .inference import infer_report
from .lattice import most_compact_supercell, relax_structure
from .make_pool import PROTOTYPE, Piece, join_samples, make_pool, run_piece
from .melting import MELTING_POINTS_K, melting_point, temperatures
from .screening import Sample, Screen, count_systems, has_overlap, systems_of
from .subsystems import subsystems_of
from .surrogates import make_surrogates

__all__ = [
    'MELTING_POINTS_K',
    'PROTOTYPE',
    'IcetMissing',
    'Piece',
    'Sample',
    'Screen',
    'count_systems',
    'dimer_scan',
    'has_overlap',
    'infer_report',
    'join_samples',
    'make_pool',
    'make_surrogates',
    'melting_point',
    'most_compact_supercell',
    'relax_structure',
    'run_piece',
    'subsystems_of',
    'systems_of',
    'temperatures',
]
