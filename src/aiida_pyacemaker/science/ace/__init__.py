"""The ACE engine: potentials in pacemaker's B-basis, their evaluation and their fit."""

from ..laws import assert_potential_obeys_laws
from .active_set import ActiveSet
from .basis import build_potential
from .batch import FramesEvaluation, evaluate_frames
from .calculator import AceCalculator
from .design import DesignRows, design_rows
from .evaluator import Evaluation, NeighbourEvaluation, evaluate, evaluate_neighbours
from .model.embedding import Embedding
from .model.radial import Bond
from .potential import AcePotential, BasisFunction

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
