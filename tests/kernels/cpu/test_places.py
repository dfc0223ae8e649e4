"""Where arrays lie in memory, by two ways."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels import jit

if not jit.HAVE_NUMBA:
    pytest.skip("needs Numba, which is not installed", allow_module_level=True)

from minidl.kernels.cpu import places


def test_both_ways_say_the_same() -> None:
    rng = np.random.default_rng(0)
    whole = rng.standard_normal((4, 5, 6))
    read_only = whole[1]
    read_only.flags.writeable = False
    arrays = [
        whole,
        whole[2:, ::-1, 3:],
        whole.T,
        whole[:, :0],
        np.array(3.0),
        read_only,
        np.broadcast_to(whole, (2, 4, 5, 6)),
    ]
    for a in [*arrays, whole.astype("float16"), np.frombuffer(b"12345678", np.uint8)]:
        assert places.address(a) == places.asked(a) == a.__array_interface__["data"][0]
    assert places.address is places.looked_up, "NumPy keeps its arrays in another way: the slow way is taken"
