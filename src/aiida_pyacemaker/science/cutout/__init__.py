"""Cutouts: a small cluster for ``pw.x`` and the untouched surroundings for the student, both about one atom."""

from .cut import Cutout, RejectedCutoutError, Workbench, choose_policy, cut_out
from .epicentres import Epicentre, EpicentreRule, choose_epicentres, gather_epicentres
from .theory import LabelTheory

__all__ = [
    'Cutout',
    'Epicentre',
    'EpicentreRule',
    'LabelTheory',
    'RejectedCutoutError',
    'Workbench',
    'choose_epicentres',
    'choose_policy',
    'cut_out',
    'gather_epicentres',
]
