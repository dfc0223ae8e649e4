"""Bugs of joining: what lies where in a row, which rows there are, and which arrays lie in rows at all."""

from __future__ import annotations

from functools import partial

from tests.checks import joining as checks

from .framework import Mutant

_CPU = "minidl.kernels.cpu.joining:"
PLANS = (partial(checks.check_storages, "float32"), checks.check_other_arrays)
LOOP = (checks.check_pieces,)

MUTANTS = (
    Mutant("join_parts_from_the_first_row", _CPU + "_copy_piece", LOOP, "every row is the first one",
           "p.source + row * p.step + begin", "p.source + begin"),
    Mutant("join_every_piece_is_the_first", _CPU + "_copy_piece", LOOP, "a long row's pieces all copy its beginning",
           "low = piece // r.spans * r.block, piece % r.spans * PIECE", "low = piece // r.spans * r.block, 0"),
    Mutant("join_last_block_cut_short", _CPU + "_copy_piece", LOOP, "forgets the last row",
           "min(first + r.block, r.count)", "min(first + r.block, r.count - 1)"),
    Mutant("join_parts_on_top_of_each_other", _CPU + "_copy_piece", LOOP, "all parts begin where the row does",
           "at, place = at + p.width,", "at, place = 0,"),
    Mutant("join_piece_begins_with_the_part", _CPU + "_copy_piece", LOOP, "a later piece copies a part's beginning",
           "+ begin - at, stop - begin", ", stop - begin"),
    Mutant("join_axis_from_the_end", _CPU + "_plan", PLANS, "takes -1 for an axis before the first",
           "axis %= len(first)", "axis = abs(axis)"),
    Mutant("join_channels_last_untold", _CPU + "_orders", PLANS,
           "single channels become channels-last, which NumPy stores in C order",
           "] if told else", "] if len(axes) > 2 else"),
    Mutant("join_gaps_inside_a_row", _CPU + "_part", PLANS, "takes an array with gaps for one without",
           "together and evenly", "evenly"),
    Mutant("join_gaps_between_rows", _CPU + "_part", PLANS, "takes rows at uneven distances for even ones",
           "together and evenly", "together"),
    Mutant("join_rows_from_the_wrong_end", _CPU + "_part", PLANS, "steps as between images, not pixels",
           "steps[outside[-1]]", "steps[outside[0]]"),
    Mutant("join_stretched_rows", _CPU + "_part", PLANS, "takes a row that is there once for all rows",
           "and step >= width", ""),
)  # fmt: skip
