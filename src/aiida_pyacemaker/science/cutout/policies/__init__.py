"""How a cutout is made, one file a way: each turns a request into a label geometry or says why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..label_geometry import CutRequest, LabelGeometry
from .covalent import cut_covalent
from .whole_frame import cut_nothing

Policy = Callable[[CutRequest], LabelGeometry]

POLICIES: Mapping[str, Policy] = {'covalent': cut_covalent, 'whole_frame': cut_nothing}

__all__ = ['POLICIES', 'Policy']
