"""NASNet's weights as Cadene's conversion from TensorFlow names them.

There a cell is called by its place among all (``cell_6``) and a branch by the pair it belongs to
(``comb_iter_0_left``); here cells are counted through and branches have the names of their operations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minidl.io import load_weights

# what the left and the right side of each pair compute, in cells that keep the size and in those that halve it
_NORMAL = {"0_left": "h5", "0_right": "p3a", "1_left": "p5", "1_right": "p3b", "4_left": "h3"}
_REDUCTION = {"0_left": "h5", "0_right": "p7a", "1_right": "p7b", "2_right": "p5", "4_left": "a3"}
_PARTS = (
    (r"separable_(\d)\.(depth|point)wise_conv2d", r"\2wise\1"),
    (r"bn_sep_(\d)", r"bn\1"),
    (r"conv_prev_1x1\.", "adjust."),
    (r"conv_1x1\.", "project."),
    (r"path_1\.conv", "adjust.even"),
    (r"path_2\.conv", "adjust.odd"),
    (r"final_path_bn", "adjust.bn"),
)
_OUTSIDE = {"conv0.conv": "conv0", "conv0.bn": "bn0", "last_linear": "fc"}


def from_cadene(state: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays by our names.

    >>> list(from_cadene({"cell_stem_1.path_1.conv.weight": 0, "cell_0.comb_iter_1_left.bn_sep_2.bias": 1}))
    ['cells.1.adjust.even.weight', 'cells.2.p5.bn2.bias']
    """
    numbers = sorted({int(found[1]) for name in state if (found := re.match(r"cell_(\d+)\.", name))})
    each = -(-len(numbers) // 3)  # cells between two reductions
    renamed = {}
    for name, value in state.items():
        cell, _, rest = name.partition(".")
        if found := re.fullmatch(r"cell_stem_(\d)", cell):
            place, branches = int(found[1]), _REDUCTION
        elif found := re.fullmatch(r"reduction_cell_(\d)", cell):
            place, branches = 2 + (int(found[1]) + 1) * each + int(found[1]), _REDUCTION
        elif found := re.fullmatch(r"cell_(\d+)", cell):
            order = numbers.index(int(found[1]))
            place, branches = 2 + order + order // each, _NORMAL
        else:
            module, _, kind = name.rpartition(".")
            renamed[f"{_OUTSIDE.get(module, module)}.{kind}"] = value
            continue
        for pattern, ours in _PARTS:
            rest = re.sub(pattern, ours, rest)
        if found := re.match(r"comb_iter_(\d_(?:left|right))", rest):
            rest = branches[found[1]] + rest[found.end() :]
        renamed[f"cells.{place}.{rest}"] = value
    return renamed


def read_nasnet(path: Path) -> dict[str, Any]:
    """A file of the conversion, by our names."""
    return from_cadene(load_weights(path))
