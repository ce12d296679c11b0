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
SLABS = ('covalent', 'metal', 'ionic')

__all__ = ['POLICIES', 'Bonding', 'Policy', 'can_be_covalent', 'choose_order']


def choose_order(request: CutRequest) -> tuple[tuple[str, ...], str]:
    """Return the policies to try, one after the other, and why.

    As asked, or by the bonding around the epicentre. A slab is cut as a surface, but for one of molecules, which are
    whole anywhere. With ``fallback`` the whole frame follows; a mixed neighbourhood, or a metal or ionic solid that
    ends in two directions or three, has nothing else.
    """
    config = request.config
    if config.policy != 'auto':
        order: tuple[str, ...] = (config.policy,)
        return (_with_whole_frame(order) if config.fallback else order), 'asked for'
    bonding = classify(request)
    why = f'{bonding.kind}: {bonding.why}'
    own = () if bonding.kind == 'mixed' else (bonding.kind,)
    if bonding.n_open == 1 and bonding.kind in SLABS:
        why += ', a slab'
        own = ('surface', *(own if bonding.kind == 'covalent' else ()))
    elif bonding.n_open and bonding.kind in ('metal', 'ionic'):
        why += f', with vacuum in {bonding.n_open} directions: no periodic box'
        own = ()
    return (_with_whole_frame(own) if config.fallback or not own else own[:1]), why


def _with_whole_frame(order: tuple[str, ...]) -> tuple[str, ...]:
    return (*(policy for policy in order if policy != 'whole_frame'), 'whole_frame')
