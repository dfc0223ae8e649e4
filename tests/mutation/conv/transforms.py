"""Bugs in FFT convolution: the readable twin and the kernel."""

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
