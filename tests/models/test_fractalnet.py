"""FractalNet: the fractal rule, counts of the paper's forms, drop-path, one column alone."""

import numpy as np
import pytest

import minidl
from minidl import models, nn
from minidl.models.fractalnet import MAPS, FractalBlock, FractalNet, Join
from tests.checks.models import check_runs_both_ways, shell


def image(*shape, seed=7):
    return minidl.tensor(np.random.default_rng(seed).standard_normal(shape))


def small(monkeypatch, columns=3, **options):
    monkeypatch.setattr("minidl.models.fractalnet.MAPS", (4, 6, 6, 8, 8))
    return FractalNet(columns, 5, **options)


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_a_block_follows_the_fractal_rule(columns):
    block = FractalBlock(columns, 3, 4, 0.0, False, True, Join(0.15), False).double().eval()
    used = [iter(column) for column in block.columns]
    count = [len(column) for column in block.columns]
    assert count == [2**c for c in range(columns)]

    def fractal(c, z):
        """The values that the last join of f_(columns - c) takes: column c, then those of the deeper ones."""
        if c == columns - 1:
            return [next(used[c])(z)]
        shallow = next(used[c])(z)
        middle = fractal(c + 1, z)
        return [shallow, *fractal(c + 1, sum(middle) / len(middle))]

    x = image(2, 3, 6, 4)
    paths = fractal(0, x)
    wanted = nn.MaxPool2d(2)(sum(paths) / columns).detach().numpy()
    np.testing.assert_allclose(block(x, None).detach().numpy(), wanted, rtol=1e-12, atol=1e-14)
    assert all(next(it, None) is None for it in used)


def test_depth_and_number_of_convolutions():
    for name, columns, convs, depth in (("fractalnet20", 3, 35, 20), ("fractalnet40", 4, 75, 40)):
        net = shell(name)
        assert sum(isinstance(m, nn.Conv2d) for m in net.modules()) == convs == 5 * (2**columns - 1)
        assert sum(len(block.columns[-1]) for block in net.blocks) == depth
        assert [block.columns[0][0].conv.out_channels for block in net.blocks] == list(MAPS)


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({"doubling": "paper"}, 38_649_034),
        ({"conv_bias": True, "affine": False}, 33_714_314),
        ({"pool_before_join": True}, 33_724_618),
    ],
)
def test_the_forms_of_paper_and_authors(options, parameters):
    assert sum(p.numel() for p in shell("fractalnet20", **options).parameters()) == parameters


def test_pooling_before_the_last_join_differs():
    x = image(2, 3, 6, 4)
    late = FractalBlock(2, 3, 4, 0.0, False, True, Join(0.15), False).double().eval()
    early = FractalBlock(2, 3, 4, 0.0, False, True, Join(0.15), True).double().eval()
    early.load_state_dict(late.state_dict())
    a = late.columns[0][0](x)
    b = late.columns[1][1](late.columns[1][0](x))
    pool = nn.MaxPool2d(2)
    np.testing.assert_allclose(late(x, None).detach().numpy(), pool((a + b) / 2).detach().numpy(), rtol=1e-12)
    got = early(x, None).detach().numpy()
    np.testing.assert_allclose(got, ((pool(a) + pool(b)) / 2).detach().numpy(), rtol=1e-12)
    assert not np.allclose(got, late(x, None).detach().numpy())


def test_a_join_of_drawn_columns():
    """Columns 1, 2 and 3 of 4 meet: images that drew 1, 2 or 3 get its value; others a mean of the survivors."""
    paths = [image(6, 2, 3, 4, seed=s) for s in range(3)]
    columns = minidl.tensor([2, 1, 3, -1, 0, 2])
    join = Join(0.5)
    minidl.manual_seed(3)
    got = join(paths, columns, 4).numpy()
    values = np.stack([p.numpy() for p in paths])
    for image_number, path in {0: 1, 1: 0, 2: 2, 5: 1}.items():
        np.testing.assert_array_equal(got[image_number], values[path, image_number])
    for n in (3, 4):
        subsets = [[0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]]
        means = [values[subset, n].mean(0) for subset in subsets]
        assert min(np.abs(got[n] - m).max() for m in means) < 1e-12
    np.testing.assert_allclose(join(paths, None, 4).numpy(), values.mean(0), rtol=1e-12)
    assert join(paths[:1], columns, 4) is paths[0]


def test_how_often_paths_survive():
    """P(dropped) = p - p^k / k for each input: all k would be dropped with p^k, and then one of them is saved."""
    minidl.manual_seed(1)
    for p, k in ((0.15, 2), (0.5, 3)):
        alive = Join(p).survivors(k, 40_000).numpy()
        assert set(np.unique(alive)) == {0.0, 1.0}
        assert alive.sum(0).min() == 1
        expected = 1 - p + p**k / k
        np.testing.assert_allclose(alive.mean(1), expected, atol=5 * (0.25 / 40_000) ** 0.5)


def test_half_of_the_images_keep_one_column():
    minidl.manual_seed(2)
    drawn = shell("fractalnet20").draw(30_000).numpy()
    shares = [(drawn == c).mean() for c in (-1, 0, 1, 2)]
    np.testing.assert_allclose(shares, [1 / 2, 1 / 6, 1 / 6, 1 / 6], atol=0.015)


def test_one_column_alone_is_what_global_drop_path_trains(monkeypatch):
    net = small(monkeypatch).double().eval()
    x = image(3, 3, 32, 32)
    for column in range(3):
        monkeypatch.setattr(FractalNet, "draw", lambda self, n, device, c=column: minidl.tensor([c] * n))
        net.training = True  # only the network draws; its batch norms stay in eval mode
        dropped = net(x).detach().numpy()
        net.training = False
        np.testing.assert_allclose(net(x, column=column).detach().numpy(), dropped, rtol=1e-10, atol=1e-12)


def test_no_drop_path_is_the_mean(monkeypatch):
    net, x = small(monkeypatch, drop_path=0.0, dropout=(0.0,) * 5).double(), image(4, 3, 32, 32)
    np.testing.assert_array_equal(net(x).detach().numpy(), net(x).detach().numpy())
    dropping = small(monkeypatch, dropout=(0.0,) * 5).double()
    assert not np.array_equal(dropping(x).detach().numpy(), dropping(x).detach().numpy())


def test_dropout_grows_from_block_to_block():
    rates = [{m.p for m in block.modules() if isinstance(m, nn.Dropout)} for block in shell("fractalnet20").blocks]
    assert rates == [{0.0}, {0.1}, {0.2}, {0.3}, {0.4}]


def test_options_that_do_not_exist_are_named():
    with pytest.raises(models.ModelOptionError, match="doubling is 'none', 'paper' or 'all', not 'some'"):
        shell("fractalnet20", doubling="some")
    with pytest.raises(models.ModelOptionError, match=r"a rate for each of the 5 blocks; got \(0.1,\)"):
        FractalNet(2, dropout=(0.1,))


@pytest.mark.parametrize("options", [{}, {"doubling": "all", "conv_bias": True}, {"columns": 2, "drop_path": 0.0}])
def test_it_runs_both_ways(options, monkeypatch):
    check_runs_both_ways(small(monkeypatch, **options), (3, 32, 32), (5,), batch=4)
