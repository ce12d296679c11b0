"""How unsure a teacher is: distance in its own features, calibration on labels, limits.

Not imported by the package above: it brings scikit-learn and the student's engine, which few who ask a teacher need.
"""

from .confidence import Doubt, Limits, find_doubt, frame_rms, judge_labels, mask_atoms

__all__ = ('Doubt', 'Limits', 'find_doubt', 'frame_rms', 'judge_labels', 'mask_atoms')
