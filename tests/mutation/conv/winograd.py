"""Bugs in Winograd convolution: the readable twin and the kernel."""

from __future__ import annotations

from functools import partial

from ..framework import Mutant
from .common import WINOGRAD_TWIN, anywhere, promises

_TWIN = "minidl.kernels.spec.winograd"


def _twin(name: str, function: str, story: str, old: str, new: str) -> Mutant:
    return Mutant(f"{name}/winograd_twin", f"{_TWIN}:{function}", WINOGRAD_TWIN, story, old, new)


READABLE_WINOGRAD = (
    _twin(
        "tile_edge_dropped",
        "_correlate",
        "outputs that do not fill a tile are lost",
        "tiles = tuple(-(-p // (m_ * d_)) for p, m_, d_ in zip(out, m, d))",
        "tiles = tuple(max(1, p // (m_ * d_)) for p, m_, d_ in zip(out, m, d))",
    ),
    _twin(
        "B_gw_tile_edge_dropped",
        "_weight_grad",
        "upstream gradients that do not fill a tile are lost",
        "tuple(-(-p // (m_ * d)) for p, m_, d in zip(conv.out, m, conv.dilation))",
        "tuple(max(1, p // (m_ * d)) for p, m_, d in zip(conv.out, m, conv.dilation))",
    ),
    _twin(
        "tile_axes_interleaved_wrongly",
        "_correlate",
        "position within a tile and number of the tile exchanged",
        "for i in (2 * ndim + 2, 0, ndim + 2)",
        "for i in (0, 2 * ndim + 2, ndim + 2)",
    ),
    _twin(
        "phases_side_by_side",
        "_correlate",
        "results of a phase are put side by side, not a dilation apart",
        "for i in (2 * ndim + 2, 0, ndim + 2)",
        "for i in (ndim + 2, 2 * ndim + 2, 0)",
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
        "the input gradient is padded as the forward pass, not by (r - 1) d - pad",
        "low = tuple(axis.extent - 1 - before for axis, before in zip(conv.axes, low))",
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

CPU = "minidl.kernels.cpu"


def _release() -> None:
    """Forget filters that a bug has transformed."""
    from minidl.kernels import memory

    memory.release()


def _bug(name: str, target: str, story: str, old: str, new: str, *through: str) -> Mutant:
    from tests.checks import winograd as checks

    pass_ = {"F_": ("forward",), "B_gx": ("input_grad",), "B_gw": ("weight_grad",)}
    passes = next((p for prefix, p in pass_.items() if name.startswith(prefix)), ("forward", "input_grad"))
    own = tuple(partial(check, "float64", passes) for check in (checks.agreement, checks.in_pieces))
    if name.startswith("stale"):
        own = (partial(checks.other_weights, "float64"),)
    compiled = tuple(f"{CPU}.{function}" for function in through)
    faces = (*own, *promises("winograd", name))
    return Mutant(f"{name}/winograd", f"{CPU}.{target}", faces, story, old, new, None, _release, compiled)


# what holds straight-line code of the transforms
_COMPILED = (
    "winograd_blocks:transform_tiles",
    "winograd_blocks:deliver_tiles",
    "winograd_filters:_filter_piece",
    "winograd_weight_grad:_deliver_piece",
)


def _geometry() -> tuple[Mutant, ...]:
    return (
        _bug(
            "edge_dropped",
            "winograd_tiles:tiling",
            "results that do not fill a tile are lost",
            "down, across = _tiles(pass_, conv, m)",
            "down, across = (max(1, n - 1) for n in _tiles(pass_, conv, m))",
        ),
        _bug(
            "F_low_and_high_pad_exchanged",
            "winograd:_Problem.low",
            "pads before by what belongs behind",
            "axis.pad[0] if self",
            "axis.pad[1] if self",
        ),
        _bug(
            "B_gx_pads_like_forward",
            "winograd:_Problem.low",
            "the input gradient is padded as the forward pass, not by (r - 1) d - pad",
            "axis.extent - 1 - axis.pad[0]",
            "axis.pad[0]",
        ),
        _bug(
            "phases_of_rows_share_a_place",
            "winograd_blocks:place_of_tile",
            "the tiles of all phases begin where those of the first do",
            " + i % x.row_gap",
            "",
            "winograd:_correlate_piece",
            "winograd_weight_grad:_sum_piece",
        ),
        _bug(
            "elements_side_by_side",
            "winograd_blocks:transform_tiles",
            "the elements of a tile are neighbours, whatever the dilation",
            "x.column_gap * x.column_step",
            "x.column_step",
        ),
        _bug(
            "B_gw_cotangent_padded",
            "winograd_weight_grad:_sum_products",
            "tiles of g begin where those of x do",
            "image(g_group, t)",
            "image(g_group, t, -low[0], -low[1])",
        ),
        _bug(
            "B_gw_last_tiles_of_no_part",
            "winograd_weight_grad:_sum_products",
            "parts are so short that some tiles belong to none",
            "-(-t.tiles // t.parts)",
            "t.tiles // t.parts",
        ),
        _bug(
            "B_gw_a_part_without_a_tile",
            "winograd_tiles:_sum_block",
            "one tile in two parts: the second has nothing to sum, and what lay in its memory is added",
            "return block, bands, max(1, -(-tiles // max(1, part)))",
            "return block, bands, parts",
        ),
        _bug(
            "B_gw_planes_overlap",
            "winograd_weight_grad:_sum_piece",
            "the transformed g of a point begins within that of another",
            "u_plane = v + block.m, job.block * width, block.m_plane",
            "u_plane = v + block.m, job.block * width, job.block * width",
        ),
        _bug(
            "patch_not_cleared",
            "winograd_blocks:transform_tiles",
            "padding holds what was there of the tile before",
            "        if not inside:\n            clear_bytes",
            "        if t == 0:\n            clear_bytes",
        ),
        _bug(
            "last_column_of_an_edge_unwritten",
            "winograd_blocks:deliver_tiles",
            "of a tile over the edge one column less is delivered",
            "for r in range(rows):\n                    for s in range(across):",
            "for r in range(rows):\n                    for s in range(across - 1):",
        ),
        _bug(
            "bands_share_filters",
            "winograd:_correlate_piece",
            "every band of columns is multiplied by the filters of the first",
            "u = job.u + p * job.panel_step",
            "u = job.u + (p - panel) * job.panel_step",
        ),
        _bug(
            "last_channel_lost",
            "winograd:_correlate_piece",
            "the sum over channels ends one too early",
            "1, point * block.v_plane, job.depth, u",
            "1, point * block.v_plane, job.depth - 1, u",
        ),
    )


def _sums() -> tuple[Mutant, ...]:
    piece = "winograd_weight_grad:_sum_piece"
    deliver = "winograd_weight_grad:_deliver_piece"
    return (
        _bug(
            "B_gw_adds_to_what_was_there",
            piece,
            "a part adds its first block to the sums of the last call",
            "width, first - begin,",
            "width, first,",
        ),
        _bug(
            "B_gw_last_block_only",
            piece,
            "each block's products replace those before",
            "width, first - begin,",
            "width, 0,",
        ),
        _bug(
            "B_gw_second_part_lost",
            deliver,
            "the sum over parts begins one too late",
            "range(1, job.parts)",
            "range(2, job.parts)",
        ),
        _bug(
            "B_gw_taps_transposed",
            deliver,
            "rows and columns of the taps exchanged",
            "to, scheme.r * row, row, at",
            "to, row, scheme.r * row, at",
        ),
    )


def _matrices() -> tuple[Mutant, ...]:
    code = "winograd_transforms:"
    return (
        _bug(
            "difference_turned_round",
            code + "_product",
            "x_k - x_j where the columns want x_j - x_k",
            "b.fsub(x[j], x[k], flags=FUSE)",
            "b.fsub(x[k], x[j], flags=FUSE)",
            *_COMPILED,
        ),
        _bug(
            "pair_of_rows_equal",
            code + "_product",
            "the rows of p and -p get the same sign",
            "(scale, -scale)",
            "(scale, scale)",
            *_COMPILED,
        ),
        _bug(
            "B_gw_factor_of_the_odd_part_forgotten",
            code + "_product",
            "the odd part is divided by its first coefficient and never multiplied again",
            "for s in (scale, -scale)",
            "for s in (Fraction(1), Fraction(-1))",
            *_COMPILED,
        ),
        _bug(
            "constants_in_32_bits",
            code + "_constant",
            "1/N of the filters' transform in less than the arrays' precision",
            "float(p)",
            "float(int(p * 2**24)) / 2**24",
            *_COMPILED,
        ),
    )


def _filters() -> tuple[Mutant, ...]:
    piece, kept = "winograd_filters:_filter_piece", "winograd_filters:"
    return (
        _bug(
            "B_gx_filters_not_flipped",
            piece,
            "correlates the upstream gradient with the filters as they are",
            "if f.flipped:",
            "if f.flipped < 0:",
        ),
        _bug(
            "taps_of_leftover_columns_kept",
            piece,
            "a vector of which some columns are no filters has the last vector's there",
            "for t in range(whole, all_taps):",
            "for t in range(whole, all_taps - 1):",
        ),
        _bug(
            "stale_filters",
            kept + "_same_bits",
            "weights of the same place and shape are taken for the same",
            "np.array_equal(a.view(integers), b.view(integers))",
            "True",
        ),
        _bug(
            "stale_where_samples_agree",
            kept + "_same_bits",
            "a sample of the weights is compared",
            "np.array_equal(a.view(integers), b.view(integers))",
            "np.array_equal(a.view(integers)[0], b.view(integers)[0])",
        ),
        _bug(
            "stale_copy_is_the_array",
            kept + "transformed",
            "the weights are compared with themselves",
            "w.copy() if constant else w",
            "w",
        ),
        _bug(
            "stale_U_of_the_other_pass",
            kept + "transformed",
            "forward pass and input gradient share what is kept",
            "w.shape, scheme, gradient)",
            "w.shape, scheme)",
        ),
        _bug(
            "stale_memory_is_lent",
            kept + "transformed",
            "U that is kept lies in borrowed memory, which the next call overwrites",
            "aligned(size) if constant else borrow",
            "borrow",
        ),
    )


WINOGRAD = (*_geometry(), *_sums(), *_matrices(), *_filters(), *anywhere("winograd", f"{CPU}.winograd"))
