"""Layers, counts and memory of a model."""

import gc
import weakref

import numpy as np
import pytest

import minidl
from minidl import models, nn
from minidl.summary import SummaryError, parse_shape, summarize

# parameters and multiply-adds as published or derived by hand
KNOWN = {
    "lenet5": (61_706, 416_520),
    "lenet_caffe": (431_080, 2_293_000),
    "lenet_300_100": (266_610, 266_200),
    "simple_convnet": (31_066, 362_496),
    "mlp": (41, 32),
    # 60,000 as in the paper; its C3 runs as a full convolution, of which 60 of 96 kernels are not zero
    "lenet5_1998": (60_000, 117_600 + 240_000 + 48_000 + 10_080),
}


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("batch", [1, 5])
def test_parameters_and_multiply_adds_of_the_zoo(name: str, batch: int) -> None:
    report = summarize(models.create(name), models.info(name).input_shape, batch)
    parameters, macs = KNOWN[name]
    assert (report.parameters, report.trainable, report.parameter_bytes) == (parameters, parameters, 4 * parameters)
    assert report.macs == macs * batch


def test_rows_in_order_with_shapes_and_counts() -> None:
    rows = {row.name: row for row in summarize(models.lenet5(), (1, 32, 32), batch=7).rows}
    first, last = rows["features.0"], rows["classifier.4"]
    assert (first.kind, first.output, first.parameters, first.macs) == ("Conv2d", (7, 6, 28, 28), 156, 7 * 117_600)
    assert (last.kind, last.output, last.parameters, last.macs) == ("Linear", (7, 10), 850, 7 * 840)
    named = [name for name in rows if name != "(itself)"]
    assert named == [f"features.{i}" for i in range(6)] + [f"classifier.{i}" for i in range(5)]


def test_memory_of_a_network_that_can_be_counted_by_hand() -> None:
    """x (4, 10) -> 20 -> tanh -> 5, float64, so 8 bytes a number."""
    net = nn.Sequential(nn.Linear(10, 20), nn.Tanh(), nn.Linear(20, 5)).double()
    report = summarize(net, (10,), batch=4)
    x, hidden, out = 4 * 10 * 8, 4 * 20 * 8, 4 * 5 * 8
    assert [row.output_bytes for row in report.rows] == [hidden, hidden, out]
    # the gradient of a weight needs the layer's input, that of tanh its result, which is the second layer's input
    assert report.saved_bytes == x + hidden
    assert report.forward_bytes == x + 2 * hidden  # tanh reads one and writes one while x is still ours


def test_the_model_is_left_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.ReLU()).eval()
    net[3].train()
    before = {name: t.numpy().copy() for name, t in net.state_dict().items()}
    minidl.manual_seed(5)
    expected = minidl.rand(3).numpy()
    minidl.manual_seed(5)
    report = summarize(net, (2, 6, 5))
    np.testing.assert_array_equal(minidl.rand(3).numpy(), expected)
    assert [m.training for m in net] == [False, False, False, True]
    for name, t in net.state_dict().items():
        np.testing.assert_array_equal(t.numpy(), before[name])
    assert report.macs == 3 * 4 * 3 * 2 * 9
    assert all(p.grad is None for p in net.parameters())


def test_the_values_of_the_weights_do_not_matter() -> None:
    net = models.lenet5()
    expected = summarize(net, (1, 32, 32))
    for p in net.parameters():
        p.data = p.detach() * float("nan")
    assert summarize(net, (1, 32, 32)) == expected


def test_frozen_and_shared_parameters() -> None:
    net = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    net[2].weight = net[0].weight
    net[0].requires_grad_(False)
    report = summarize(net, (6,))
    assert [row.parameters for row in report.rows] == [42, 0, 6]
    assert (report.parameters, report.trainable) == (48, 6)
    assert "48 (42 of them frozen)" in report.totals()


def test_transposed_convolution_and_einsum_are_counted() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(3, 4, 2, stride=2)

        def forward(self, x: minidl.Tensor) -> minidl.Tensor:
            return minidl.einsum("nchw,ndhw->ncd", self.up(x), self.up(x))

    # input pixels x C_in x C_out x kernel, twice; then c * d * h * w
    assert summarize(Net(), (3, 5, 4), batch=2).macs == 2 * (2 * 20 * 3 * 4 * 4 + 4 * 4 * 10 * 8)


def test_nothing_is_kept_alive() -> None:
    net = models.lenet5()
    summarize(net, (1, 32, 32))
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


def test_table_and_totals_as_text() -> None:
    from rich.console import Console

    console = Console(width=100)
    with console.capture() as capture:
        report = summarize(models.lenet5(), (1, 32, 32), name="lenet5")
        console.print(report.table())
    text = capture.get()
    assert "lenet5, input 1×1×32×32" in text and "117,600" in text and "classifier.4" in text and "18.8 kB" in text
    assert report.totals().splitlines()[0] == "parameters           61,706"


def test_wrong_shapes_are_explained() -> None:
    assert parse_shape("3x20x10") == (3, 20, 10)
    with pytest.raises(SummaryError, match=r"written as 1,32,32 \(channels, height, width\), not '1,a'"):
        parse_shape("1,a")
    with pytest.raises(SummaryError, match="a batch and input sides of at least 1, got batch 0"):
        summarize(models.lenet5(), (1, 32, 32), batch=0)
