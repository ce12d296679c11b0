"""The ACE engine: potentials in pacemaker's B-basis, their evaluation and their fit."""

from ..laws import assert_potential_obeys_laws
from .active_set import ActiveSet
from .basis import build_potential
from .batch import FramesEvaluation, evaluate_frames
from .calculator import AceCalculator
from .design import DesignRows, design_rows
from .embedding import Embedding
from .evaluator import Evaluation, NeighbourEvaluation, evaluate, evaluate_neighbours
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
    'FramesEvaluation',
    'NeighbourEvaluation',
    'assert_potential_obeys_laws',
    'build_potential',
    'design_rows',
    'evaluate',
    'evaluate_frames',
    'evaluate_neighbours',
]
