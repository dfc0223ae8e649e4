"""Geometry is worked out once for equal arguments of equal types, and errors come every time."""

import pytest

from minidl.kernels import remembered as module
from minidl.kernels.errors import ShapeError
from minidl.kernels.geometry import Conv
from minidl.kernels.remembered import remembered


@pytest.fixture
def counted():
    calls = []

    def function(*args, **options):
        calls.append((args, options))
        return args, options

    return remembered(function), calls


@pytest.mark.parametrize(
    ("a", "b", "times"),
    [((1, 2), (1, 2), 1), ((1, 2), (1, 2.0), 2), (1, True, 2), ([1, 2], [1, 2], 1), ([1, 2], (1, 2), 2), ("a", "b", 2)],
)
def test_equal_arguments_of_equal_types_are_the_same(counted, a, b, times) -> None:
    call, calls = counted
    assert call(a, x=b) == ((a,), {"x": b})
    assert call(b, x=b) == ((b,), {"x": b})
    assert len(calls) == times


def test_what_has_no_bytes_is_not_kept(counted) -> None:
    call, calls = counted
    for _ in range(2):
        call(slice(3))
    assert len(calls) == 2


def test_no_more_are_kept_than_allowed_and_all_can_be_forgotten(counted, monkeypatch) -> None:
    call, calls = counted
    monkeypatch.setattr(module, "KEPT", 3)
    for n in (0, 1, 2, 3, 3, 0):
        call(n)
    assert len(calls) == 5  # 0 had to go for 3
    call.cache_clear()
    call(3)
    assert len(calls) == 6


def test_a_geometry_is_one_object_and_a_mistake_is_one_each_time() -> None:
    conv = remembered(Conv.from_shapes)
    assert conv((1, 2, 5, 5), (3, 2, 3, 3), (1, 1)) is conv((1, 2, 5, 5), (3, 2, 3, 3), (1, 1))
    for _ in range(2):
        with pytest.raises(ShapeError, match="stride"):
            conv((1, 2, 5, 5), (3, 2, 3, 3), (1.0, 1))
