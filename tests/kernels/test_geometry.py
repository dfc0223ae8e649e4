"""Arguments and messages of ``kernels.geometry``; the arithmetic is counted in test_geometry_by_counting.py."""

import numpy as np
import pytest

from minidl.kernels.errors import ShapeError
from minidl.kernels.geometry import Axis, Conv, per_axis, receptive_field


def message(*args, of=Conv.from_shapes, **options) -> str:
    with pytest.raises(ShapeError) as caught:
        of(*args, **options)
    return str(caught.value)


def test_arguments_as_torch_takes_them() -> None:
    x, w = (2, 3, 9, 8), (5, 3, 4, 3)
    assert Conv.from_shapes(x, w) == Conv(2, 3, 5, (9, 8), (4, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1)
    assert Conv.from_shapes(x, w, stride=(2, 1), dilation=[1, 2]).out == (3, 4)
    assert Conv.from_shapes(x, w, stride=(2,)).stride == (2, 2)
    assert Conv.from_shapes(x, w, padding="valid").padding == ((0, 0), (0, 0))
    assert Conv.from_shapes(x, w, padding="same").padding == ((1, 2), (1, 1))
    assert Conv.from_shapes(x, w, padding="same", dilation=(1, 3)).out == (9, 8)
    assert Conv.from_shapes(x, w, padding=(1, 2)).padding == ((1, 1), (2, 2))
    assert Conv.from_shapes(x, w, padding=((0, 1), (2, 3))).padding == ((0, 1), (2, 3))
    assert Conv.from_shapes((2, 3, 9), (4, 3, 2), padding=((1, 2),)).padding == ((1, 2),)
    assert Conv.from_shapes(x, w, stride=np.int64(2)).stride == (2, 2)


def test_shapes_and_counts() -> None:
    conv = Conv.from_shapes((2, 4, 9, 8), (6, 2, 3, 2), stride=(2, 1), padding=((1, 2), (0, 1)), groups=2)
    assert (conv.x_shape, conv.w_shape, conv.y_shape) == ((2, 4, 9, 8), (6, 2, 3, 2), (2, 6, 5, 8))
    assert conv.macs == 2 * 6 * 5 * 8 * 2 * 3 * 2
    assert str(conv) == (
        "x (2, 4, 9, 8) * w (6, 2, 3, 2) -> y (2, 6, 5, 8), stride (2, 1), padding ((1, 2), (0, 1)), groups 2"
    )
    assert str(Conv.from_shapes((1, 1, 5), (1, 1, 2), dilation=2)).endswith("dilation (2,)")


def test_nothing_at_all_is_allowed() -> None:
    assert Conv.from_shapes((0, 3, 9, 8), (5, 3, 4, 3)).y_shape == (0, 5, 6, 6)
    assert Conv.from_shapes((2, 3, 9, 8), (0, 3, 4, 3)).y_shape == (2, 0, 6, 6)
    assert Conv.from_shapes((2, 0, 9, 8), (5, 0, 4, 3)).y_shape == (2, 5, 6, 6)


def test_kernel_larger_than_input_shows_the_arithmetic() -> None:
    text = message((1, 3, 2, 9), (2, 3, 5, 5))
    assert text.startswith(
        "conv2d: the kernel is larger than the padded input: R = 5, padded H = 2.\n"
        "    x (N, C, H, W) = (1, 3, 2, 9)\n"
        "    w (K, C/G, R, S) = (2, 3, 5, 5)\n"
        "    P = (2 + 2*0 - 1*(5-1) - 1)//1 + 1 = -2\n"
    )
    assert "it needs H >= 5, or padding >= 2 there, or a smaller kernel" in text
    # what the message says helps, helps; one less does not
    assert Conv.from_shapes((1, 3, 5, 9), (2, 3, 5, 5)).out == (1, 5)
    assert Conv.from_shapes((1, 3, 2, 9), (2, 3, 5, 5), padding=(2, 0)).out == (2, 5)
    assert "= -2" not in message((1, 3, 4, 9), (2, 3, 5, 5))
    text = message((1, 3, 9, 6), (2, 3, 3, 4), stride=2, padding=((0, 0), (0, 1)), dilation=(1, 3))
    assert "S = 4 dilated by 3 spans 10, padded W = 7" in text
    assert "Q = (6 + 0 + 1 - 3*(4-1) - 1)//2 + 1 = -1" in text
    assert "needs W >= 9" in text
    assert "O" not in message((1, 3, 2), (2, 3, 5)).split("\n")[1]
    assert "Q = (2 + 2*0" in message((1, 3, 2), (2, 3, 5))
    assert "Z = (2 + 2*0" in message((1, 3, 2, 9, 9), (2, 3, 5, 3, 3))
    assert "x is empty along W" in message((1, 3, 9, 0), (2, 3, 3, 3), padding=5)


def test_wrong_channels_name_a_likely_cause() -> None:
    text = message((1, 3, 8, 8), (2, 4, 5, 3))
    assert text.startswith("conv2d: w is made for C = 4 input channels, x has C = 3.\n")
    assert "C = C/G * G = 4 * 1 = 4, but x has C = 3" in text
    assert "the layer was made for in_channels=4; make it with in_channels=3" in text
    assert "x looks channels-last: try x.permute(0, 3, 1, 2)" in message((1, 8, 9, 3), (2, 3, 3, 3))
    assert "try x.permute(0, 2, 1)" in message((1, 8, 3), (2, 3, 3))
    assert "try x.permute(0, 4, 1, 2, 3)" in message((1, 8, 9, 7, 3), (2, 3, 3, 3, 3))
    assert "exchanged, (C, K, ...): try w.transpose(0, 1)" in message((1, 3, 9, 8), (3, 6, 3, 3))
    assert "(R, S, C, K): try w.permute(3, 2, 0, 1)" in message((1, 4, 9, 8), (3, 3, 4, 7))
    assert "(K, R, S, C): try w.permute(0, 3, 1, 2)" in message((1, 4, 9, 8), (7, 3, 3, 4))
    assert "groups=2 would fit this x and w" in message((1, 4, 9, 8), (6, 2, 5, 3))
    assert "for groups=2 its second size is C/G = 4/2" in message((1, 4, 9, 7), (6, 4, 5, 3), groups=2)


def test_the_named_remedies_work() -> None:
    def permuted(shape, *order):
        return tuple(shape[i] for i in order)

    assert Conv.from_shapes(permuted((1, 8, 9, 3), 0, 3, 1, 2), (2, 3, 3, 3))
    assert Conv.from_shapes((1, 3, 9, 8), permuted((3, 6, 3, 3), 1, 0, 2, 3))
    assert Conv.from_shapes((1, 4, 9, 8), permuted((3, 3, 4, 7), 3, 2, 0, 1))
    assert Conv.from_shapes((1, 4, 9, 8), permuted((7, 3, 3, 4), 0, 3, 1, 2))
    assert Conv.from_shapes((1, 4, 9, 8), (6, 2, 5, 3), groups=2)
    assert Conv.from_shapes((1, *permuted((8, 9, 3), 2, 0, 1)), (2, 3, 3, 3))


def test_missing_axes() -> None:
    text = message((3, 8, 9), (2, 3, 3, 3))
    assert text.startswith("conv2d: x must have 4 axes (N, C, H, W).\n    x has 3 axes: (3, 8, 9)\n")
    assert text.endswith("the batch axis is missing: try x.unsqueeze(0)")
    assert message((8, 9, 3), (2, 3, 3, 3)).endswith("try x.permute(2, 0, 1).unsqueeze(0)")
    assert message((8, 9), (2, 1, 3, 3)).endswith("try x.unsqueeze(0).unsqueeze(0)")
    assert "not made for a 1-dimensional kernel" in message((1, 3, 9, 8), (2, 3, 3))
    assert message((1, 3), (2, 3)).startswith("conv1d: w must have an output-channel axis")


def test_groups() -> None:
    text = message((1, 4, 9, 8), (6, 2, 3, 3), groups=3)
    assert "groups = 3 does not divide C = 4" in text and "C / G = 4 / 3 is not a whole number" in text
    assert "C = 4 allows groups in [1, 2, 4]" in text
    text = message((1, 4, 9, 8), (5, 2, 3, 3), groups=2)
    assert "groups = 2 does not divide K = 5" in text and "K = 5 allows groups in [1, 5]" in text
    assert "groups must be at least 1" in message((1, 4, 9, 8), (5, 2, 3, 3), groups=0)


def test_steps() -> None:
    x, w = (1, 4, 9, 8), (5, 4, 3, 3)
    assert message(x, w, stride=(1, 2, 3)) == (
        "conv2d: stride must be one integer or 2 of them (one per spatial axis), got (1, 2, 3)"
    )
    assert "conv2d: stride must be made of integers, got 1.5" in message(x, w, stride=1.5)
    assert "dilation must be made of integers, got '2'" in message(x, w, dilation=("2", 1))
    assert "stride must be at least 1 on every axis, got stride = (1, 0)" in message(x, w, stride=(1, 0))
    assert "dilation must be at least 1" in message(x, w, dilation=0)
    assert "kernel size must be at least 1" in message(x, (5, 4, 0, 3))
    text = message(x, w, padding=((0, -1), (0, 0)))
    assert "padding must be at least 0" in text and "to drop positions, slice x" in text
    assert '"same" or "valid", got \'full\'' in message(x, w, padding="full")
    assert 'padding="same" means an output as large as the input' in message(x, w, padding="same", stride=2)
    assert "2 pair(s) (low, high)" in message(x, w, padding=(1, 2, 3))
    assert "2 pair(s) (low, high)" in message(x, w, padding=((1, 2),))
    assert "2 pair(s) (low, high)" in message(x, w, padding=((1, 2, 3), (1, 2)))
    assert message((1, 4, 9), (5, 4, 3), padding=(1, 2)).endswith("padding=((1, 2),)")
    assert per_axis([2], 3, "stride") == (2, 2, 2)


def test_transposed() -> None:
    conv = Conv.transposed((2, 8, 4, 5), (8, 3, 3, 2), (2, 3), ((1, 0), (0, 2)), (1, 2), None, (1, 2), 2)
    assert (conv.y_shape, conv.w_shape) == ((2, 8, 4, 5), (8, 3, 3, 2))
    assert conv.x_shape == (2, 6, 9, 15)
    same = Conv.transposed((2, 8, 4, 5), (8, 3, 3, 2), (2, 3), ((1, 0), (0, 2)), 0, (9, 15), (1, 2), 2)
    assert same == conv
    assert Conv.transposed((2, 8, 4, 5), (8, 3, 3, 3), 2, output_size=(2, 3, 9, 12)).size == (9, 12)
    assert Conv.transposed((0, 8, 4, 5), (8, 3, 3, 3)).x_shape == (0, 3, 6, 7)


def test_transposed_messages() -> None:
    def wrong(*args, **options):
        return message(*args, of=Conv.transposed, **options)

    x, w = (2, 4, 3, 5), (4, 2, 3, 3)
    assert wrong(x, w, stride=2, output_size=(9, 11)) == (
        "conv_transpose2d: output_size = (9, 11) cannot come from this input; possible: H in 7..8, W in 11..12"
    )
    assert "output_size must be one integer or 2" in wrong(x, w, stride=2, output_size=(9, 9, 9))
    text = wrong(x, w, stride=2, output_padding=2)
    assert "0 <= output_padding < stride" in text and "output_padding = (2, 2), stride = (2, 2)" in text
    text = wrong(x, w, padding=3)
    assert "nothing is left of the output along H" in text
    assert "(3-1)*1 - 3 - 3 + 1*(3-1) + 0 + 1 = -1" in text
    assert "try x.permute(0, 3, 1, 2)" in wrong((2, 3, 5, 4), w)
    assert "layout of a plain convolution, (K, C, ...): try w.transpose(0, 1)" in wrong(x, (2, 4, 3, 3))
    assert "the layer was made for in_channels=7; make it with in_channels=4" in wrong(x, (7, 2, 3, 3))
    assert "groups = 3 does not divide C = 4" in wrong(x, w, groups=3)
    assert wrong((4, 3, 5), w).endswith("try x.unsqueeze(0)")
    assert wrong((4, 3), (4, 2)).startswith("conv_transpose1d: w must have")
    assert "x is empty along W" in wrong((2, 4, 3, 0), w)


def test_positions_and_leftover() -> None:
    axis = Axis(size=10, kernel=3, stride=4, pad=(1, 0), dilation=2)
    assert (axis.extent, axis.padded, axis.out, axis.leftover) == (5, 11, 2, 2)
    assert [axis.position(1, t) for t in range(3)] == [3, 5, 7]
    assert Axis(size=10, kernel=3, stride=4, ceil=True).leftover == -1


def test_receptive_field_of_alexnet() -> None:
    """Araujo et al. 2019, table 1: AlexNet's pool5 sees 195 positions, 32 apart (valid padding in conv1)."""
    chain = [(11, 4, 2), (3, 2, 0), (5, 1, 2), (3, 2, 0), (3, 1, 1), (3, 1, 1), (3, 1, 1), (3, 2, 0)]
    axes = [Axis(size=0, kernel=k, stride=s, pad=(p, p)) for k, s, p in chain]
    field = receptive_field(axes)
    assert (field.size, field.jump) == (195, 32)
    assert field.seen(1) == range(field.start + 32, field.start + 32 + 195)
    assert field.centre == field.start + 97
