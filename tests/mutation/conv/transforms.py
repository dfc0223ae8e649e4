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


def _fft(name: str, where: str, story: str, old: str, new: str) -> Mutant:
    """``where``: module:function, the module's name from "fft" or "dft" on."""
    return Mutant(f"{name}/fft", f"minidl.kernels.cpu.{where}", promises("fft", name), story, old, new)


FFT = (
    _fft(
        "wraps_round_by_one",
        "fft_tiles:_axis_lines",
        "the last output of a tile reads an input that wrapped round",
        "hop = ((f - a.extent) // s + 1) * s",
        "hop = ((f - a.extent + 1) // s + 1) * s",
    ),
    _fft(
        "gradient_wraps_round_by_one",
        "fft_tiles:_axis_lines",
        "the last gradient of a tile reads one that wrapped round",
        "hop = (f - a.extent + 1) // s * s",
        "hop = (f - a.extent + 2) // s * s",
    ),
    _fft(
        "tiles_lie_differently_to_the_stride",
        "fft_tiles:_axis_lines",
        "the gradient's samples are said to begin at the tile's first position",
        "range(low % s, f, s)",
        "range(0, f, s)",
    ),
    _fft(
        "last_tile_dropped",
        "fft_tiles:_axis_lines",
        "outputs that do not fill a tile are lost",
        "tiles = ceil(a.out * s / hop)",
        "tiles = max(1, a.out * s // hop)",
    ),
    _fft(
        "F_true_convolution(flip)",
        "fft_products:_product_piece",
        "the kernel's spectrum is not conjugated",
        "(3 * f + 1 - part) * p.w_plane",
        "(3 * f + part) * p.w_plane",
    ),
    _fft(
        "F_imaginary_parts_of_filters_alone_not_conjugated",
        "fft_products:_scale_piece",
        "depthwise: the kernel's spectrum is not conjugated",
        "store(to, a * re + b * im)",
        "store(to, a * re - b * im)",
    ),
    _fft(
        "B_gx_kernel_not_flipped",
        "fft:_kernel",
        "correlates the upstream gradient with the kernel as it is",
        "np.flip(w if by_channels(p.conv) else w.swapaxes(0, 1), tuple(range(2, w.ndim)))",
        "w if by_channels(p.conv) else w.swapaxes(0, 1)",
    ),
    _fft(
        "B_gw_flipped",
        "fft_products:_sum_piece",
        "the upstream gradient's spectrum is not conjugated",
        "(3 * f + 1 - part) * p.y_plane",
        "(3 * f + part) * p.y_plane",
    ),
    _fft(
        "B_gw_alone_flipped",
        "fft_products:_sum_scaled_piece",
        "depthwise: the upstream gradient's spectrum is not conjugated",
        "im + (b * u - a * v)",
        "im + (b * u + a * v)",
    ),
    _fft(
        "channel_blocks_not_summed",
        "fft:_correlate_tiles",
        "each block of channels replaces the sum so far",
        "cs.stop - cs.start, cs.start > 0",
        "cs.stop - cs.start, False",
    ),
    _fft(
        "kernel_spectra_of_the_first_block",
        "fft:_correlate_tiles",
        "every block of channels meets the kernels of the first",
        "if W is None or not (cut.alone or cin >= channels):",
        "if W is None:",
    ),
    _fft(
        "B_gw_last_tile_only",
        "fft:_sum_tiles",
        "each block of tiles replaces the sum so far",
        "cut.alone, ts.start > 0)",
        "cut.alone, False)",
    ),
    _fft(
        "B_gw_alone_last_tile_only",
        "fft_products:_sum_scaled_piece",
        "depthwise: each block of tiles replaces the sum so far",
        "if p.accumulate:",
        "if p.accumulate and not p.accumulate:",
    ),
    _fft(
        "B_gw_empty_batch_leaves_out_unwritten",
        "fft:weight_grad",
        "nothing to sum, so nothing is written",
        "dw[...] = 0",
        "pass",
    ),
    _fft(
        "no_channels_leave_out_unwritten",
        "fft:_correlate",
        "nothing to sum, so nothing is written",
        "y[...] = 0",
        "pass",
    ),
    _fft(
        "last_tile_of_a_chunk_dropped",
        "fft_products:_product_piece",
        "a register tile that is not full is not computed",
        "for i in range(first, min(first + p.chunk, p.tiles), rows):",
        "for i in range(first, max(first + 1, min(first + p.chunk, p.tiles) - rows + 1), rows):",
    ),
    _fft(
        "padding_is_what_was_there",
        "fft_blocks:_collect",
        "samples that the array does not have are those of the tile before",
        "if done == 0 and not whole:",
        "if first == 0 and done == 0 and not whole:",
    ),
    _fft(
        "cleared_for_each_tile",
        "fft_blocks:_collect",
        "where several tiles share a register tile's columns, all but the last are lost",
        "if done == 0 and not whole:",
        "if not whole:",
    ),
    _fft(
        "sample_before_the_array",
        "fft_blocks:_within",
        "a sample before the array is read as if it were its first",
        "max(0, -first)",
        "max(0, -first - 1) if first < 0 else 0",
    ),
    _fft(
        "last_rows_of_a_matrix_dropped",
        "fft_blocks:_apply",
        "results that do not fill a register tile are not computed",
        "while done < stage.rows:",
        "while done == 0 or done + tile.rows <= stage.rows:",
    ),
    _fft(
        "tiles_of_the_second_block_begin_again",
        "fft_blocks:_place",
        "each block of tiles reads and writes those of the first",
        "t += s.begin",
        "t += 0 * s.begin",
    ),
    _fft(
        "B_gw_last_filter_of_a_panel_dropped",
        "fft_blocks:_deliver_apart",
        "the last filter of each panel is not delivered",
        "for i in range(real):",
        "for i in range(real - 1):",
    ),
    _fft(
        "mirror_of_the_middle_forgotten",
        "dft:_inverse_matrix",
        "frequencies that stand for their mirror image are counted twice, but the last of an odd length",
        "1 : (size + 1) // 2",
        "1 : size // 2",
    ),
    _fft(
        "inverse_not_divided",
        "dft:_inverse_matrix",
        "the factor 1/F of the inverse transform is forgotten",
        ".conj() / size",
        ".conj()",
    ),
    _fft(
        "twiddle_factors_in_32_bits",
        "dft:_roots",
        "sines and cosines in less than the arrays' precision",
        "return (c - 1j * s) *",
        "return (c - 1j * s).astype('complex64') *",
    ),
    *anywhere("fft", _FFT),
)
