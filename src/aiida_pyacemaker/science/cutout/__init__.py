"""Cutouts: what ``pw.x`` sees and the untouched surroundings for the student, both about one atom."""

from .cut import Cutout, RejectedCutoutError, Workbench, cap_elements, cap_pseudos, cut_out
from .epicentres import Epicentre, EpicentreRule, choose_epicentres, gather_epicentres
from .prospects import find_uncuttable
from .theory import LabelTheory

__all__ = [
    'Cutout',
    'Epicentre',
    'EpicentreRule',
    'LabelTheory',
    'RejectedCutoutError',
    'Workbench',
    'cap_elements',
    'cap_pseudos',
    'choose_epicentres',
    'cut_out',
    'find_uncuttable',
    'gather_epicentres',
]
