"""The laws every interatomic potential obeys, checked on ours and on any ASE calculator."""

from .check import LAWS, assert_potential_obeys_laws, check_laws
from .examples import LawFinding

__all__ = ['LAWS', 'LawFinding', 'assert_potential_obeys_laws', 'check_laws']
