"""Convolution's bugs: the 27 of the first experiment under their names, and those that our own kernels invite.

F_ bugs are self-consistent: forward and gradients are wrong together, so only an independent reference sees
them.  B_ bugs are in a gradient alone.  The part after the slash says where the bug sits.
"""

from __future__ import annotations

from minidl.kernels.jit import HAVE_NUMBA

from ..framework import Mutant
from .definition import DEFINITION, GEOMETRY, READABLE_IM2COL
from .direct import DIRECT
from .im2col import IM2COL
from .transforms import FFT, READABLE_FFT
from .winograd import READABLE_WINOGRAD, WINOGRAD

MUTANTS: tuple[Mutant, ...] = (
    *GEOMETRY,
    *DEFINITION,
    *READABLE_IM2COL,
    *IM2COL,
    *(DIRECT if HAVE_NUMBA else ()),
    *READABLE_FFT,
    *FFT,
    *READABLE_WINOGRAD,
    *(WINOGRAD if HAVE_NUMBA else ()),
)
