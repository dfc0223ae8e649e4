"""NASNet-A: padding as in TensorFlow, the two cells by their definitions, which input a cell gets."""

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl._macs import dry_run
from minidl.models import ModelOptionError
from minidl.models._layers import DropPath
from minidl.models.nasnet import Halve, NASNetA, NASNetOutputs, NormalCell, ReductionCell, SameConv2d, Separable, pool3
from tests.checks.models import check_runs_both_ways, layer_shapes, shell


def image(*shape, seed=11):
    return minidl.tensor(np.random.default_rng(seed).standard_normal(shape))


def same_windows(size, kernel, stride):
    """(start, stop) of every window in the input, cut off at its borders: TensorFlow's rule for SAME."""
    outputs = -(-size // stride)
    before = max(0, (outputs - 1) * stride + kernel - size) // 2
    starts = [i * stride - before for i in range(outputs)]
    return [(max(0, s), min(size, s + kernel)) for s in starts], starts


@pytest.mark.parametrize("sides", [(6, 7), (5, 8), (3, 4)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (7, 2), (5, 1)])
def test_convolution_padded_as_same(sides, kernel, stride):
    conv, x = SameConv2d(2, 3, kernel, stride=stride, bias=False).double(), image(2, 2, *sides)
    w, got = conv.weight.detach().numpy(), conv(x).detach().numpy()
    (rows, row_starts), (columns, column_starts) = (same_windows(n, kernel, stride) for n in sides)
    wanted = np.full((2, 3, len(rows), len(columns)), np.nan)
    for i, (top, bottom) in enumerate(rows):
        for j, (left, right) in enumerate(columns):
            dy, dx = top - row_starts[i], left - column_starts[j]
            part = w[:, :, dy : dy + bottom - top, dx : dx + right - left]
            wanted[:, :, i, j] = np.einsum("nchw,kchw->nk", x.numpy()[:, :, top:bottom, left:right], part)
    np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("sides", [(6, 7), (5, 8), (4, 3)])
@pytest.mark.parametrize("stride", [1, 2])
def test_pooling_leaves_the_padding_out(sides, stride):
    x = image(2, 3, *sides)
    (rows, _), (columns, _) = (same_windows(n, 3, stride) for n in sides)
    for kind, of in {"max": np.max, "avg": np.mean}.items():
        wanted = [[of(x.numpy()[:, :, t:b, l:r], axis=(2, 3)) for l, r in columns] for t, b in rows]
        np.testing.assert_allclose(pool3(kind, x, stride).numpy(), np.transpose(wanted, (2, 3, 0, 1)), rtol=1e-12)


def test_half_the_size_from_even_and_odd_pixels():
    layer, x = Halve(4, 6).double().eval(), image(2, 4, 5, 6)
    active = np.maximum(x.numpy(), 0)
    shifted = np.zeros_like(active)
    shifted[:, :, :-1, :-1] = active[:, :, 1:, 1:]
    parts = [layer.even(minidl.tensor(active[:, :, ::2, ::2])), layer.odd(minidl.tensor(shifted[:, :, ::2, ::2]))]
    wanted = layer.bn(minidl.cat(parts, 1)).detach().numpy()
    assert wanted.shape == (2, 6, 3, 3)
    np.testing.assert_allclose(layer(x).detach().numpy(), wanted, rtol=1e-12)


def test_the_cells_by_their_definitions():
    x, older = image(2, 6, 5, 6), image(2, 8, 5, 6, seed=12)
    for cell in (NormalCell(6, 8, 4, False).double().eval(), ReductionCell(6, 8, 4, False).double().eval()):
        h, p = cell.project(x), cell.adjust(older)
        if isinstance(cell, NormalCell):
            p2 = 2 * pool3("avg", p, 1)
            parts = [p, cell.h5(h) + cell.p3a(p), cell.p5(p) + cell.p3b(p), pool3("avg", h, 1) + p, p2, cell.h3(h) + h]
            sizes = {cell.h5: 5, cell.p3a: 3, cell.p5: 5, cell.p3b: 3, cell.h3: 3}
        else:
            a, b = cell.h5(h) + cell.p7a(p), pool3("max", h, 2) + cell.p7b(p)
            c = pool3("avg", h, 2) + cell.p5(p)
            parts = [b, c, pool3("avg", a, 1) + b, cell.a3(a) + pool3("max", h, 2)]
            sizes = {cell.h5: 5, cell.p7a: 7, cell.p7b: 7, cell.p5: 5, cell.a3: 3}
        got = cell(x, older).detach().numpy()
        np.testing.assert_allclose(got, minidl.cat(parts, 1).detach().numpy(), rtol=1e-10, atol=1e-12)
        assert got.shape == ((2, 24, 5, 6) if isinstance(cell, NormalCell) else (2, 16, 3, 3))
        assert {m.depthwise1.kernel_size[0] for m in sizes} == set(sizes.values())
        assert all(m.depthwise1.kernel_size == m.depthwise2.kernel_size == (n, n) for m, n in sizes.items())


@pytest.mark.parametrize(
    ("name", "sides", "filters"),
    [("nasnet_a_mobile", (111, 56, 28, 14, 7), 44), ("nasnet_a_large", (165, 83, 42, 21, 11), 168)],
)
def test_sizes(name, sides, filters):
    net, seen = shell(name), []
    for cell in net.cells:
        cell.register_forward_hook(lambda m, args, out: seen.append(out.shape[1:3]))
    assert layer_shapes(net, (3, *shell_input(name)), (nn.Conv2d,))[0][1][1] == sides[0]
    repeats = (len(seen) - 4) // 3
    f = filters
    wanted = [(f, sides[1]), (2 * f, sides[2]), *[(6 * f, sides[2])] * repeats]
    wanted += [(8 * f, sides[3]), *[(12 * f, sides[3])] * repeats, (16 * f, sides[4]), *[(24 * f, sides[4])] * repeats]
    assert seen == wanted
    assert net.fc.in_features == 24 * f


def shell_input(name):
    return (224, 224) if name.endswith("mobile") else (331, 331)


@pytest.mark.parametrize("skip", [False, True])
def test_which_older_input_a_cell_gets(skip):
    """Behind a reduction: the reduction's input, or with skip_reduction the reduction's own older input."""
    net, calls = NASNetA(8, 8, 2, skip, 3, 0.0).eval(), []
    for cell in net.cells:
        cell.register_forward_hook(lambda m, args, out: calls.append((args[0], args[1], out)))
    net(minidl.zeros(1, 3, 33, 33))
    outputs = [None, *(out for _, _, out in calls)]
    for i, (x, older, _) in enumerate(calls):
        if i == 0:
            assert x is older
            continue
        assert x is outputs[i]
        reduction_before = isinstance(net.cells[i - 1], ReductionCell) and i > 2
        assert older is (calls[i - 1][1] if skip and reduction_before else calls[i - 1][0])


def test_it_runs_both_ways():
    for skip in (False, True):
        check_runs_both_ways(NASNetA(8, 8, 1, skip, 5, 0.0), (3, 67, 60), (5,), batch=3)


def test_it_has_no_biases_but_those_of_norms_and_the_last_layer():
    net = shell("nasnet_a_mobile")
    assert all(m.bias is None for m in net.modules() if isinstance(m, nn.Conv2d))
    assert {m.eps for m in net.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}
    assert sum(isinstance(m, Separable) for m in net.modules()) == 16 * 5


def test_paths_fall_out_more_often_deeper_and_later():
    """Image by image: a path is dropped for all of an image or not at all, and what stays is divided by 1 - p."""
    minidl.manual_seed(4)
    drop, x = DropPath(0.25), image(4000, 2, 3)
    y = drop(x).numpy()
    kept = y[:, 0, 0] != 0
    np.testing.assert_array_equal(y[~kept], 0)
    np.testing.assert_allclose(y[kept], x.numpy()[kept] / 0.75, rtol=1e-12)
    assert abs(kept.mean() - 0.75) < 0.03
    net = shell("nasnet_a_mobile", drop_path=0.3)
    count = len(net.cells)
    assert [cell.drop.p for cell in net.cells] == pytest.approx([0.3 * i / count for i in range(1, count + 1)])
    net.set_progress(0.5)
    assert net.cells[-1].drop.p == pytest.approx(0.15)


def test_the_auxiliary_head_stands_at_two_thirds_of_the_depth():
    for name, side in (("nasnet_a_mobile", 224), ("nasnet_a_large", 331)):
        net = shell(name, aux_logits=True, num_classes=7)
        kinds = [type(cell).__name__ for cell in net.cells]
        assert kinds[net.aux_cell] == "NormalCell" and kinds[net.aux_cell + 1] == "ReductionCell"
        assert kinds[net.aux_cell + 1 :].count("ReductionCell") == 1
        output, _ = dry_run(net, (3, side, side), training=True)
        assert isinstance(output, NASNetOutputs) and [t.shape for t in output] == [(0, 7), (0, 7)]
        assert dry_run(net, (3, side, side)).output.shape == (0, 7)
        assert net.aux.conv1.weight.shape == (768, 128, *((4, 4) if side == 224 else (6, 6)))


def test_options_of_the_training_that_do_not_fit():
    with pytest.raises(ModelOptionError, match="maps that it sees have 2x2 positions; input_size must be larger"):
        shell("nasnet_a_mobile", aux_logits=True, input_size=32)
    with pytest.raises(
        ModelOptionError, match=r"drop_path of nasnet_a_mobile takes a number of at least 0 and below 1, not 1.5"
    ):
        shell("nasnet_a_mobile", drop_path=1.5)
