"""Bugs in the algorithms that transform their operands: FFT and Winograd."""

from __future__ import annotations

from ..framework import Mutant
from .common import FFT_TWIN, anywhere, promises

_TWIN = "minidl.kernels.spec.fft"

READABLE_FFT = (
    Mutant(
        "transform_too_short/fft_twin",
        f"{_TWIN}:transform_size",
        FFT_TWIN,
        "the transform holds the input but not its padding, so ends wrap round",
        "a.padded",
        "a.size",
    ),
    Mutant(
        "F_true_convolution(flip)/fft_twin",
        f"{_TWIN}:forward",
        FFT_TWIN,
        "the kernel's spectrum is not conjugated",
        "_split(W, 0, conv.groups).conj()",
        "_split(W, 0, conv.groups)",
    ),
    Mutant(
        "B_gx_is_a_correlation/fft_twin",
        f"{_TWIN}:input_grad",
        FFT_TWIN,
        "the kernel's spectrum is conjugated where it must not be",
        "_split(W, 0, conv.groups), _split",
        "_split(W, 0, conv.groups).conj(), _split",
    ),
    Mutant(
        "B_gw_forgets_dilation/fft_twin",
        f"{_TWIN}:weight_grad",
        FFT_TWIN,
        "the weight gradient is read off neighbouring taps",
        "(0,) * conv.ndim, conv.dilation)",
        "(0,) * conv.ndim)",
    ),
)

_FFT = "minidl.kernels.cpu.fft"
_DFT = "minidl.kernels.cpu.dft"


def _fft(name: str, function: str, story: str, old: str, new: str) -> Mutant:
    module = _DFT if function.startswith(("_real", "_roots", "transform", "inverse", "_fourier")) else _FFT
    return Mutant(f"{name}/fft", f"{module}:{function}", promises("fft", name), story, old, new)


FFT = (
    _fft(
        "wraps_round_by_one",
        "_axis_lines",
        "the last output of a tile reads an input that wrapped round",
        "hop = ((f - a.extent) // s + 1) * s",
        "hop = ((f - a.extent + 1) // s + 1) * s",
    ),
    _fft(
        "gradient_wraps_round_by_one",
        "_axis_lines",
        "the last gradient of a tile reads one that wrapped round",
        "hop = (f - a.extent + 1) // s * s",
        "hop = (f - a.extent + 2) // s * s",
    ),
    _fft(
        "tiles_lie_differently_to_the_stride",
        "_axis_lines",
        "the gradient's samples are said to begin at the tile's first position",
        "range(low % s, f, s)",
        "range(0, f, s)",
    ),
    _fft(
        "last_tile_dropped",
        "_axis_lines",
        "outputs that do not fill a tile are lost",
        "tiles = ceil(a.out * s / hop)",
        "tiles = max(1, a.out * s // hop)",
    ),
    _fft(
        "F_true_convolution(flip)",
        "_kernel_spectra",
        "the kernel's spectrum is not conjugated",
        "return np.conjugate(W, out=W)",
        "return W",
    ),
    _fft(
        "B_gx_kernel_not_flipped",
        "input_grad",
        "correlates the upstream gradient with the kernel as it is",
        "np.flip(_split(w, 0, conv.groups), tuple(range(3, 3 + conv.ndim)))",
        "_split(w, 0, conv.groups)",
    ),
    _fft(
        "B_gw_flipped",
        "weight_grad",
        "the upstream gradient's spectrum is not conjugated",
        "Y = np.conjugate(Y, out=Y).swapaxes(-1, -2)",
        "Y = Y.swapaxes(-1, -2)",
    ),
    _fft(
        "channel_blocks_not_summed",
        "_correlate",
        "each block of channels replaces the sum so far",
        "total = _add(total, _contract(X, W))",
        "total = _contract(X, W)",
    ),
    _fft(
        "kernel_spectra_of_the_first_block",
        "_correlate",
        "every block of channels meets the kernels of the first",
        "if W is None or cin < channels:",
        "if W is None:",
    ),
    _fft(
        "B_gw_last_tile_only",
        "weight_grad",
        "each tile's product replaces the sum so far",
        "total = _add(total, _contract(Y, X))",
        "total = _contract(Y, X)",
    ),
    _fft(
        "empty_batch_leaves_out_unwritten",
        "weight_grad",
        "nothing to sum, so nothing is written",
        "split[...] = 0",
        "pass",
    ),
    _fft(
        "last_images_dropped",
        "_tile_blocks",
        "a batch that is no multiple of the block loses its rest",
        "for part in _parts(batch, images):",
        "for part in list(_parts(batch, images))[: max(1, batch // images)]:",
    ),
    _fft(
        "mirror_of_the_middle_forgotten",
        "_real_inverse",
        "frequencies that stand for their mirror image are counted twice, but the last of an odd length",
        "1 : (size + 1) // 2",
        "1 : size // 2",
    ),
    _fft(
        "inverse_not_divided",
        "_real_inverse",
        "the factor 1/F of the inverse transform is forgotten on one axis",
        ".T / size",
        ".T",
    ),
    _fft(
        "twiddle_factors_in_32_bits",
        "_roots",
        "sines and cosines in less than the arrays' precision",
        "return (c - 1j * s) *",
        "return (c - 1j * s).astype('complex64') *",
    ),
    *anywhere("fft", _FFT),
)

_WINOGRAD = "minidl.kernels.spec.winograd"


def _winograd(name: str, function: str, story: str, old: str, new: str) -> Mutant:
    return Mutant(f"{name}/winograd", f"{_WINOGRAD}:{function}", promises("winograd", name), story, old, new)


WINOGRAD = (
    _winograd(
        "tile_edge_dropped",
        "_correlate",
        "outputs that do not fill a tile are lost",
        "tiles = tuple(-(-p // m_) for p, m_ in zip(out, m))",
        "tiles = tuple(max(1, p // m_) for p, m_ in zip(out, m))",
    ),
    _winograd(
        "B_gw_tile_edge_dropped",
        "_weight_grad",
        "upstream gradients that do not fill a tile are lost",
        "tiles = tuple(-(-p // m_) for p, m_ in zip(conv.out, m))",
        "tiles = tuple(max(1, p // m_) for p, m_ in zip(conv.out, m))",
    ),
    _winograd(
        "tile_axes_interleaved_wrongly",
        "_correlate",
        "position within a tile and number of the tile exchanged",
        "for i in (ndim + 2 + axis, axis)",
        "for i in (axis, ndim + 2 + axis)",
    ),
    _winograd(
        "tiles_n_apart",
        "_tiles",
        "tiles that must overlap lie side by side",
        "slice(None, None, m_) for m_ in m",
        "slice(None, None, n_) for n_ in n",
    ),
    _winograd(
        "B_gx_kernel_not_flipped",
        "compute",
        "correlates the upstream gradient with the kernel as it is",
        "np.flip(w.swapaxes(1, 2), tuple(range(3, 3 + conv.ndim)))",
        "w.swapaxes(1, 2)",
    ),
    _winograd(
        "B_gx_pads_like_forward",
        "compute",
        "the input gradient is padded as the forward pass, not by r - 1 - pad",
        "low = tuple(r - 1 - before for r, before in zip(conv.kernel, low))",
        "pass",
    ),
    _winograd(
        "sign_in_the_wrong_matrix",
        "transforms",
        "signs of the interpolation's divisors are lost",
        "sign[i] * c for c in",
        "c for c in",
    ),
    _winograd(
        "infinity_forgotten",
        "_powers",
        "the row of the point at infinity takes the lowest coefficient",
        "int(k == width - 1)",
        "int(k == 0)",
    ),
    _winograd(
        "filters_in_32_bits",
        "_along",
        "transform matrices in less than the arrays' precision",
        "matrix.astype(a.dtype)",
        "matrix.astype('float32').astype(a.dtype)",
    ),
    *anywhere("winograd", "minidl.kernels.cpu.winograd"),
)
