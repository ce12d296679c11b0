"""How a cutout is made, one file a way: each turns a request into a label geometry or says why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..label_geometry import CutRequest, LabelGeometry
from .bonding import Bonding, can_be_covalent, classify
from .covalent import cut_covalent
from .ionic import cut_ionic
from .metal import cut_metal
from .molecular import cut_molecular
from .surface import cut_surface
from .whole_frame import cut_nothing

Policy = Callable[[CutRequest], LabelGeometry]

POLICIES: Mapping[str, Policy] = {
    'covalent': cut_covalent,
    'molecular': cut_molecular,
    'metal': cut_metal,
    'ionic': cut_ionic,
    'surface': cut_surface,
    'whole_frame': cut_nothing,
}
# what is tried after the way that belongs to a class of bonding; nothing is right for a mixed one but all of it
NEXT = {'covalent': (), 'molecular': ('covalent',), 'metal': (), 'ionic': (), 'mixed': ()}

__all__ = ['POLICIES', 'Bonding', 'Policy', 'can_be_covalent', 'choose_order']


def choose_order(request: CutRequest) -> tuple[tuple[str, ...], str]:
    """Return the policies to try, one after the other, and why.

    As asked, or by the bonding around the epicentre. A slab is cut as a surface, but for one of molecules, which are
    whole anywhere. With ``fallback`` further ones follow, the whole frame last; a mixed neighbourhood has nothing else.
    """
    config = request.config
    if config.policy != 'auto':
        order: tuple[str, ...] = (config.policy,)
        return (_with_whole_frame(order) if config.fallback else order), 'asked for'
    bonding = classify(request)
    own = () if bonding.kind == 'mixed' else (bonding.kind,)
    if bonding.is_slab and bonding.kind in ('covalent', 'metal', 'ionic'):
        own = ('surface', *(own if bonding.kind == 'covalent' else ()))
    why = f'{bonding.kind}: {bonding.why}{", a slab" if bonding.is_slab else ""}'
    if config.fallback or not own:
        return _with_whole_frame((*own, *NEXT[bonding.kind])), why
    return own[:1], why


def _with_whole_frame(order: tuple[str, ...]) -> tuple[str, ...]:
    return (*(policy for policy in order if policy != 'whole_frame'), 'whole_frame')
