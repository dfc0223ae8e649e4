"""Bugs in Winograd convolution: the readable twin and the kernel."""

from __future__ import annotations

from ..framework import Mutant
from .common import WINOGRAD_TWIN, anywhere

_TWIN = "minidl.kernels.spec.winograd"


def _twin(name: str, function: str, story: str, old: str, new: str) -> Mutant:
    return Mutant(f"{name}/winograd_twin", f"{_TWIN}:{function}", WINOGRAD_TWIN, story, old, new)


READABLE_WINOGRAD = (
    _twin(
        "tile_edge_dropped",
        "_correlate",
        "outputs that do not fill a tile are lost",
        "tiles = tuple(-(-p // m_) for p, m_ in zip(out, m))",
        "tiles = tuple(max(1, p // m_) for p, m_ in zip(out, m))",
    ),
    _twin(
        "B_gw_tile_edge_dropped",
        "_weight_grad",
        "upstream gradients that do not fill a tile are lost",
        "tiles = tuple(-(-p // m_) for p, m_ in zip(conv.out, m))",
        "tiles = tuple(max(1, p // m_) for p, m_ in zip(conv.out, m))",
    ),
    _twin(
        "tile_axes_interleaved_wrongly",
        "_correlate",
        "position within a tile and number of the tile exchanged",
        "for i in (ndim + 2 + axis, axis)",
        "for i in (axis, ndim + 2 + axis)",
    ),
    _twin(
        "tiles_n_apart",
        "_tiles",
        "tiles that must overlap lie side by side",
        "slice(None, None, m_) for m_ in m",
        "slice(None, None, n_) for n_ in n",
    ),
    _twin(
        "B_gx_kernel_not_flipped",
        "compute",
        "correlates the upstream gradient with the kernel as it is",
        "np.flip(w.swapaxes(1, 2), tuple(range(3, 3 + conv.ndim)))",
        "w.swapaxes(1, 2)",
    ),
    _twin(
        "B_gx_pads_like_forward",
        "compute",
        "the input gradient is padded as the forward pass, not by r - 1 - pad",
        "low = tuple(r - 1 - before for r, before in zip(conv.kernel, low))",
        "pass",
    ),
    _twin(
        "sign_in_the_wrong_matrix",
        "transforms",
        "signs of the interpolation's divisors are lost",
        "sign[i] * c for c in",
        "c for c in",
    ),
    _twin(
        "infinity_forgotten",
        "_powers",
        "the row of the point at infinity takes the lowest coefficient",
        "int(k == width - 1)",
        "int(k == 0)",
    ),
    _twin(
        "filters_in_32_bits",
        "_along",
        "transform matrices in less than the arrays' precision",
        "matrix.astype(a.dtype)",
        "matrix.astype('float32').astype(a.dtype)",
    ),
)

WINOGRAD = (*anywhere("winograd", "minidl.kernels.cpu.winograd"),)
