"""The ACE engine: potentials in pacemaker's B-basis, their evaluation and their fit."""

from .active_set import ActiveSet
from .basis import build_potential
from .calculator import AceCalculator
from .embedding import Embedding
from .evaluator import DesignRows, Evaluation, NeighbourEvaluation, design_rows, evaluate, evaluate_neighbours
from .potential import AcePotential, BasisFunction
from .radial import Bond

__all__ = [
    'AceCalculator',
    'AcePotential',
    'ActiveSet',
    'BasisFunction',
    'Bond',
    'DesignRows',
    'Embedding',
    'Evaluation',
    'NeighbourEvaluation',
    'build_potential',
    'design_rows',
    'evaluate',
    'evaluate_neighbours',
]
