"""Layers, counts and memory of a model."""

import gc
import json
import weakref
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl import models, nn
from minidl.cli._app import run
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


def test_vgg16_line_by_line_as_the_lectures_list_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The printed lines: volume, weights and biases, multiply-adds; and the sums, where the slides have 24M values."""
    golden = json.loads((Path(__file__).parent / "models" / "golden.json").read_text(encoding="utf-8"))["_tables"]
    assert run(["summary", "vgg16"]) == 0
    text = capsys.readouterr().out
    cells = [line.split() for line in text.splitlines()]
    lines = [line for line in cells if len(line) > 2 and line[1] in ("Conv2d", "MaxPool2d", "Linear")]
    assert len(lines) == len(golden["vgg16_layers"]) == 21
    for line, row in zip(lines, golden["vgg16_layers"]):
        assert line[2] == "×".join(map(str, row["out"]))
        memory = row["activations"] * 4
        assert (f"{memory / 1e6:.1f} MB" if memory >= 1e6 else f"{memory / 1e3:.1f} kB") in " ".join(line)
        if row["weights"]:
            assert line[3:5] == [f"{row['weights'] + row['bias']:,}", f"{row['macs']:,}"]
    totals = golden["vgg16_totals"]
    assert f"parameters           {totals['params']:,}\n" in text
    assert f"volumes              {totals['activation_values_incl_input']:,} values" in text
    assert "kept for training" in text and "activations, forward" in text

    assert run(["summary", "vgg16", "--volumes"]) == 0
    cells = [line.split() for line in capsys.readouterr().out.splitlines()]
    lines = [line for line in cells if len(line) > 3 and line[1] in ("Conv2d", "MaxPool2d", "Linear")]
    want = [(row["activations"], row["weights"]) for row in golden["vgg16_layers"]]
    assert [line[3:] for line in lines] == [[f"{n:,}" for n in row if n] for row in want]
    assert ["(input)", "3×224×224", "150,528"] in cells
    assert [f"{totals['activation_values_incl_input']:,}", f"{totals['weights']:,}"] in cells


def test_weights_without_biases() -> None:
    """Of a layer with both, with one of them, and of one that shares its weights with an earlier one."""
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4, bias=False), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    rows = summarize(net, (4,), batch=3).rows
    assert [(r.parameters, r.biases) for r in rows] == [(20, 4), (16, 0), (4, 4)]


# size, step and centre of the last map, from the table of Araujo, Norris and Sim 2019 where it has the network
@pytest.mark.parametrize(
    ("name", "layer", "field"),
    [
        ("alexnet_cs231n", "features.13", (163, 16, 17)),
        ("vgg16", "features.30", (212, 32, 15.5)),
        ("resnet50_v1", "layer4.2.bn3", (483, 32, 0)),
        ("resnet50", "layer4.2.bn3", (427, 32, 0)),
        ("resnet101_v1", "layer4.2.bn3", (1027, 32, 0)),
        ("mobilenet_v1", "features.13.1.2", (315, 32, 0)),
        ("inception_v3", "Mixed_7c", (1311, 32, None)),
        ("inception_v4", "features.21", (2071, 32, None)),
        ("inception_resnet_v2", "conv2d_7b.conv", (3039, 32, None)),
        ("lenet5", "features.5", (16, 4, 7.5)),
    ],
)
def test_receptive_fields_of_the_zoo(name: str, layer: str, field: tuple[int, int, float]) -> None:
    with nn.utils.skip_init():
        net = models.create(name)
    rows = {row.name: row for row in summarize(net, models.info(name).input_shape).rows}
    height, width = rows[layer].field or ()
    assert (height.size, height.jump) == (width.size, width.jump) == field[:2]
    assert field[2] is None or height.centre == width.centre == field[2]


# of each network the path with the largest kernels, as its paper's table has it: (kernel, stride, how often)
PATHS = {
    "zfnet": [(7, 2, 1), (3, 2, 1), (5, 2, 1), (3, 2, 1), (3, 1, 3)],
    "nin_imagenet": [(11, 4, 1), (3, 2, 1), (5, 1, 1), (3, 2, 1), (3, 1, 1), (3, 2, 1), (3, 1, 1)],
    "squeezenet1_0": [(7, 2, 1), (3, 2, 1), (3, 1, 3), (3, 2, 1), (3, 1, 4), (3, 2, 1), (3, 1, 1)],
    "squeezenet1_1": [(3, 2, 1), (3, 2, 1), (3, 1, 2), (3, 2, 1), (3, 1, 2), (3, 2, 1), (3, 1, 4)],
    "densenet121": [
        (7, 2, 1), (3, 2, 1), (3, 1, 6), (2, 2, 1), (3, 1, 12), (2, 2, 1), (3, 1, 24), (2, 2, 1), (3, 1, 16)
    ],
    "mobilenet_v2": [
        (3, 2, 1), (3, 1, 1), (3, 2, 1), (3, 1, 1), (3, 2, 1), (3, 1, 2), (3, 2, 1), (3, 1, 6), (3, 2, 1), (3, 1, 3)
    ],
    "resnext50_32x4d": [
        (7, 2, 1), (3, 2, 1), (3, 1, 3), (3, 2, 1), (3, 1, 3), (3, 2, 1), (3, 1, 5), (3, 2, 1), (3, 1, 2)
    ],
    "cifar_resnet20": [(3, 1, 7), (3, 2, 1), (3, 1, 5), (3, 2, 1), (3, 1, 5)],
    "cifar_preact_resnet110": [(3, 1, 37), (3, 2, 1), (3, 1, 35), (3, 2, 1), (3, 1, 35)],
    "wrn_28_10": [(3, 1, 9), (3, 2, 1), (3, 1, 7), (3, 2, 1), (3, 1, 7)],
    "fractalnet20": [(3, 1, 4), (2, 2, 1), (3, 1, 4), (2, 2, 1), (3, 1, 4), (2, 2, 1), (3, 1, 4), (2, 2, 1), (3, 1, 4)],
}  # fmt: skip


@pytest.mark.parametrize("name", PATHS)
def test_receptive_fields_are_those_of_the_longest_path(name: str) -> None:
    size = jump = 1
    for kernel, stride, times in PATHS[name]:
        for _ in range(times):
            size, jump = size + (kernel - 1) * jump, jump * stride
    with nn.utils.skip_init():
        net = models.create(name)
    fields = [row.field for row in summarize(net, models.info(name).input_shape).rows if row.field]
    assert max((f.size, f.jump) for pair in fields for f in pair if f.jump == jump) == (size, jump)


def test_receptive_fields_are_what_changes_a_unit() -> None:
    """Branches, dilation, stride, padding, slices and poolings of a small network, input by input."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(1, 2, (3, 2), stride=(2, 1), padding=(1, 0))
            self.wide = nn.Conv2d(2, 2, 3, dilation=2, padding=2)
            self.pool = nn.AvgPool2d(2)

        def forward(self, x: minidl.Tensor) -> minidl.Tensor:
            x = self.stem(x)
            x = minidl.cat([self.wide(x), x], 1)
            return self.pool(nn.functional.pad(x[:, :, 1:, ::2], (1, 1, 0, 2)))

    net = Net().double()
    for p in net.parameters():
        p.data = p.detach().abs() + 0.1  # nothing cancels
    shape = (1, 19, 23)
    row = {r.name: r for r in summarize(net, shape).rows}["pool"]
    assert row.field is not None
    rng = np.random.default_rng(3)
    x = minidl.tensor(rng.standard_normal((1, *shape)), requires_grad=True)
    y = net(x)
    for p in range(y.shape[2]):
        for q in range(y.shape[3]):
            x.grad = None
            y[0, :, p, q].sum().backward(retain_graph=True)
            seen = np.argwhere(x.grad.numpy()[0, 0])
            for axis, (unit, field) in enumerate(zip((p, q), row.field)):
                inside = [i for i in field.seen(unit) if 0 <= i < shape[axis + 1]]
                got = sorted(set(seen[:, axis].tolist()))
                assert not got or (min(inside) <= got[0] and got[-1] <= max(inside))
                if 0 < unit < y.shape[axis + 2] - 2:
                    assert (got[0], got[-1]) == (inside[0], inside[-1])


def test_a_field_is_unknown_where_no_window_slides() -> None:
    net = nn.Sequential(nn.ConvTranspose2d(1, 1, 2, stride=2), nn.Conv2d(1, 1, 3))
    rows = summarize(net, (1, 6, 6)).rows
    assert [row.field for row in rows] == [None, None]
    assert rows[0].field_text() == ("", "", "")
    uneven = summarize(nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.ReLU()), (1, 7, 7)).rows
    assert [row.field for row in uneven] == [None, None]
    even = summarize(nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.ReLU()), (1, 6, 9)).rows
    assert even[1].field_text() == ("2×3", "2×3", "0.5×1")
