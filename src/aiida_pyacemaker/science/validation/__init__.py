"""What a student must show before it is used: equation of state, elastic constants, stability, a short MD run."""

from .elastic import born_stable, elastic_constants, is_cubic, point_group, symmetrise
from .equation_of_state import EquationOfState, equation_of_state, volumes_around
from .gates import Gate, PhaseProperties, check_gates, measure_phase, unmeasured_phase
from .miniature_md import MdProfile, run_miniature_md

__all__ = [
    'EquationOfState',
    'Gate',
    'MdProfile',
    'PhaseProperties',
    'born_stable',
    'check_gates',
    'elastic_constants',
    'equation_of_state',
    'is_cubic',
    'measure_phase',
    'point_group',
    'run_miniature_md',
    'symmetrise',
    'unmeasured_phase',
    'volumes_around',
]
