"""Nothing is cut: the frame itself is labelled, and every atom of it learnt."""

from __future__ import annotations

import numpy as np

from ...frames import SHELL_CORE
from ..label_geometry import CutRequest, LabelGeometry, RejectedCutoutError


def cut_nothing(request: CutRequest) -> LabelGeometry:
    """Return the frame, all of it core; raise :class:`RejectedCutoutError` above ``max_frame_atoms``."""
    frame, limit = request.frame.atoms, request.config.max_frame_atoms
    if len(frame) > limit:
        raise RejectedCutoutError(f'the frame has {len(frame)} atoms, max_frame_atoms is {limit}')
    return LabelGeometry(
        atoms=frame.copy(),
        policy='whole_frame',
        shell=np.full(len(frame), SHELL_CORE, dtype=np.int8),
        parents=np.arange(len(frame)),
        boundary=np.zeros(len(frame), dtype=bool),
        report={'n_core': len(frame)},
    )
