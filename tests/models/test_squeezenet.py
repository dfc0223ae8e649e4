"""SqueezeNet 1.0 and 1.1, and the authors' compressed weights on photographs."""

import csv

import numpy as np
import pytest

import minidl
from minidl import models, nn
from minidl.io import WeightsError
from minidl.models.squeezenet import Fire, from_caffe, read_compressed
from minidl.predict import PREPROCESS, read_photo
from tests.checks.models import check_runs_both_ways, sizes


def shell(name, **options):
    with nn.utils.skip_init():
        return models.create(name, **options)


def fires(net):
    return {f"features.{i}": m for i, m in enumerate(net.features) if isinstance(m, Fire)}


@pytest.mark.parametrize(
    ("name", "conv1", "places"),
    [("squeezenet1_0", (96, 7), (3, 4, 5, 7, 8, 9, 10, 12)), ("squeezenet1_1", (64, 3), (3, 4, 6, 7, 9, 10, 11, 12))],
)
def test_table_1_of_the_paper(name, conv1, places):
    net = shell(name)
    assert (net.features[0].out_channels, net.features[0].kernel_size[0]) == conv1
    modules = fires(net)
    assert list(modules) == [f"features.{i}" for i in places]
    squeeze = [m.squeeze.out_channels for m in modules.values()]
    assert squeeze == [16, 16, 32, 32, 48, 48, 64, 64]
    for m in modules.values():  # both expansions are four times the squeeze layer, side by side
        assert m.expand1x1.out_channels == m.expand3x3.out_channels == 4 * m.squeeze.out_channels
    keys = ["features.0", *(f"{p}.{part}" for p in modules for part in ("squeeze", "expand1x1", "expand3x3"))]
    keys.append("classifier.1")
    assert list(net.state_dict()) == [f"{key}.{kind}" for key in keys for kind in ("weight", "bias")]


def test_sizes():
    def sides(name, side, **options):
        maps = [shape[1] for shape in sizes(shell(name, **options), (3, side, side)) if len(shape) == 3]
        return sorted(set(maps), reverse=True)

    assert sides("squeezenet1_0", 224) == [109, 54, 27, 13, 1]
    assert sides("squeezenet1_1", 224) == [111, 55, 27, 13, 1]
    assert sides("squeezenet1_0", 227, final_padding=1) == [111, 55, 27, 15, 13, 1]  # as Caffe has it


def test_a_fire_module_puts_both_expansions_side_by_side():
    rng = np.random.default_rng(0)
    fire = Fire(5, 3, 4, 6)
    x = minidl.tensor(rng.standard_normal((2, 5, 7, 6), dtype="float32"))
    y = fire(x).detach().numpy()
    assert y.shape == (2, 10, 7, 6)
    squeezed = fire.squeeze(x).relu()
    np.testing.assert_array_equal(y[:, :4], fire.expand1x1(squeezed).relu().detach().numpy())
    np.testing.assert_array_equal(y[:, 4:], fire.expand3x3(squeezed).relu().detach().numpy())


def test_initial_values():
    net = models.squeezenet1_1(num_classes=100)
    *others, last = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    for layer in others:
        bound = (6 / nn.init.fan_in_and_fan_out(layer.weight)[0]) ** 0.5
        assert 0.95 * bound < float(np.abs(layer.weight.detach().numpy()).max()) <= bound * (1 + 1e-6)
    assert float(last.weight.detach().numpy().std()) == pytest.approx(0.01, rel=0.02)
    assert not any(m.bias.detach().numpy().any() for m in (*others, last))


@pytest.mark.parametrize("name", ["squeezenet1_0", "squeezenet1_1"])
def test_it_runs_both_ways(name):
    check_runs_both_ways(models.create(name, num_classes=6), (3, 67, 51), (6,))


# ---- the authors' weights -----------------------------------------------------------------------------------------


def prepared(path):
    """A photograph as the authors' networks take it: (3, 227, 227)."""
    return PREPROCESS["caffe"](read_photo(path))


def test_names_of_the_caffe_file_fit(shared_data):
    with np.load(shared_data / "weights" / "squeezenet_dc" / "squeezenet_v1.0_decoded.npz") as file:
        state = from_caffe({name: file[name] for name in file.files})
    net = shell("squeezenet1_0")
    assert sorted(state) == sorted(net.state_dict())
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in net.state_dict().items()}


@pytest.fixture(scope="module")
def compressed(shared_data):
    """SqueezeNet 1.0 with the weights that Deep Compression's file decodes to."""
    with np.load(shared_data / "weights" / "squeezenet_dc" / "squeezenet_v1.0_decoded.npz") as file:
        state = from_caffe({name: file[name] for name in file.files})
    with nn.utils.skip_init():
        net = models.squeezenet1_0(final_padding=1).eval()
    net.load_state_dict(state)
    return net


def best_five(net, photos):
    """The five best classes of each photograph, best first."""
    with minidl.no_grad():
        scores = net(minidl.tensor(np.stack([prepared(path) for path in photos]))).numpy()
    return np.argsort(-scores, axis=1, kind="stable")[:, :5]


def test_the_first_photographs_get_the_five_classes_recorded_for_them(compressed, shared_data):
    folder = shared_data / "imagenet_samples"
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:5]
    photos = sorted(folder.glob("*.png"))[:4]
    assert [path.name.split("_")[0] for path in photos] == [f"{int(row[0]):03}" for row in rows]
    np.testing.assert_array_equal(best_five(compressed, photos), np.array([row[2:] for row in rows], dtype=int))


@pytest.mark.slow
def test_compressed_weights_on_photographs(compressed, shared_data):
    """67.5 % top-1 and 87.5 % top-5 on one photograph of each of 200 classes."""
    photos = sorted((shared_data / "imagenet_samples").glob("*.png"))
    labels = np.array([int(path.name.split("_")[0]) for path in photos])
    best = np.concatenate([best_five(compressed, photos[i : i + 20]) for i in range(0, len(photos), 20)])
    assert len(photos) == 200
    assert (best[:, 0] == labels).mean() == 0.675
    assert (best == labels[:, None]).any(1).mean() == 0.875


def test_the_compressed_file_is_what_the_decoded_arrays_say(shared_data):
    folder = shared_data / "weights" / "squeezenet_dc"
    ours = read_compressed(folder / "compressed_SqueezeNet.net")
    decoded = read_compressed(folder / "squeezenet_v1.0_decoded.npz")
    assert sorted(ours) == sorted(decoded) == sorted(shell("squeezenet1_0").state_dict())
    for name, array in decoded.items():
        np.testing.assert_array_equal(ours[name], array)


def compressed_file(path, kept, extra=b""):
    """A file of the authors' format with random contents, and the arrays it stands for."""
    rng = np.random.default_rng(3)
    layers = {name: m for name, m in shell("squeezenet1_0").named_modules() if isinstance(m, nn.Conv2d)}
    counts, body, state = [], b"", {}
    for name, layer in layers.items():
        size = layer.weight.numel()
        n = min(kept, size // 16)
        gaps = rng.integers(0, 16, n, dtype=np.uint8)
        values, bias = rng.standard_normal(256).astype("<f4"), rng.standard_normal(layer.out_channels).astype("<f4")
        values[0] = 0
        codes = rng.integers(0, 256, n, dtype=np.uint8)
        weight = np.zeros(size, np.float32)
        place = -1
        for gap, code in zip(gaps, codes):  # by its meaning, one weight after the other
            place += 1 + int(gap)
            weight[place] = values[code]
        padded = np.append(gaps, np.zeros(n % 2, np.uint8))
        body += values.tobytes() + bias.tobytes() + codes.tobytes() + (padded[::2] | padded[1::2] << 4).tobytes()
        counts.append(n)
        state |= {f"{name}.weight": weight.reshape(layer.weight.shape), f"{name}.bias": bias}
    path.write_bytes(np.array(counts, "<u4").tobytes() + body + extra)
    return state


@pytest.mark.parametrize("kept", [0, 1, 7, 40])
def test_reading_the_compressed_format(tmp_path, kept):
    expected = compressed_file(tmp_path / "a.net", kept)
    state = read_compressed(tmp_path / "a.net")
    assert list(state) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(state[name], array)


def test_damaged_compressed_files(tmp_path):
    path = tmp_path / "a.net"
    compressed_file(path, 5, extra=b"more")
    with pytest.raises(WeightsError, match="4 bytes are left: this is another network's file"):
        read_compressed(path)
    whole = path.read_bytes()
    for length in (0, 3, 104, 1000, len(whole) - 5):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match="bytes too early"):
            read_compressed(path)
    path.write_bytes(np.full(26, 5000, "<u4").tobytes() + b"\xff" * 100_000)
    with pytest.raises(WeightsError, match=r"a weight of features\.0 lies outside: this is another network's file"):
        read_compressed(path)
