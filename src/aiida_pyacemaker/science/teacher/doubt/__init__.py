"""How unsure a teacher is: distance in its own features, calibration on labels, limits.

scikit-learn and the student's engine are imported where they are used: who only labels does not need them.
"""

from .confidence import Doubt, Limits, find_doubt, frame_rms, judge_labels, mask_atoms

__all__ = ('Doubt', 'Limits', 'find_doubt', 'frame_rms', 'judge_labels', 'mask_atoms')
