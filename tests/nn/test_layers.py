"""What the constructors refuse, dropout's numbers, and layers that torch does not have."""

import numpy as np
import pytest

import minidl
from minidl import nn


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: nn.Linear(-1, 3), "Linear: in_features must be a whole number of at least 1, got -1"),
        (lambda: nn.Linear(3, 2.5), "Linear: out_features must be a whole number of at least 1, got 2.5"),
        (lambda: nn.Linear(True, 2), "Linear: in_features must be a whole number of at least 1, got True"),
        (lambda: nn.Bilinear(3, 2, -1), "Bilinear: out_features must be a whole number of at least 1, got -1"),
        (lambda: nn.Conv2d(3, 0, 3), "Conv2d: out_channels must be a whole number of at least 1, got 0"),
        (
            lambda: nn.Conv2d(3, 4, 3, groups=2),
            "Conv2d: groups = 2 must divide in_channels = 3, but 3 / 2 = 1.5; a depthwise convolution has groups",
        ),
        (lambda: nn.Conv2d(4, 3, 3, groups=2), "Conv2d: groups = 2 must divide out_channels = 3"),
        (lambda: nn.Conv2d(3, 4, (3, 0)), "Conv2d: kernel_size[1] must be a whole number of at least 1, got 0"),
        (lambda: nn.Conv2d(3, 4, 3, stride=0), "Conv2d: stride[0] must be a whole number of at least 1, got 0"),
        (lambda: nn.Conv2d(3, 4, (3, 3, 3)), "kernel_size"),
        (lambda: nn.Conv2d(3, 4, 3, padding=(1, -1)), "Conv2d: padding must not be negative, got (1, -1)"),
        (lambda: nn.Conv2d(3, 4, 3, padding="full"), "'full'"),
        (lambda: nn.Conv2d(3, 4, 3, 2, "same"), "stride"),
        (
            lambda: nn.Conv3d(3, 4, 3, padding_mode="mirror"),
            "Conv3d: padding_mode must be one of zeros, reflect, replicate, circular, not 'mirror'",
        ),
        (
            lambda: nn.ConvTranspose1d(3, 4, 3, padding_mode="reflect"),
            "ConvTranspose1d: a transposed convolution crops its result, so padding_mode must be 'zeros', not 'refl",
        ),
        (
            lambda: nn.ConvTranspose2d(3, 4, 3, padding="same"),
            "padding must be numbers, 'same' has no meaning for a transposed convolution",
        ),
        (lambda: nn.MaxPool2d(0), "MaxPool2d: kernel_size must be at least 1 on every axis, got 0"),
        (lambda: nn.MaxPool1d(2, padding=-1), "MaxPool1d: padding must be at least 0 on every axis, got -1"),
        (lambda: nn.AvgPool3d(2, (1, 0, 2)), "AvgPool3d: stride must be at least 1 on every axis, got (1, 0, 2)"),
        (lambda: nn.AvgPool2d(2, divisor_override=0), "AvgPool2d: divisor_override must not be zero"),
        (lambda: nn.LPPool2d(0, 2), "LPPool2d: norm_type must be positive, got 0"),
        (lambda: nn.AdaptiveAvgPool2d((2, 3, 4)), "AdaptiveAvgPool2d: output_size must be one number of at least 1"),
        (lambda: nn.AdaptiveMaxPool1d(0), "for each of 1 axes, got 0"),
        (lambda: nn.MaxUnpool2d(2, 0), "MaxUnpool2d: stride must be at least 1 on every axis, got 0"),
        (lambda: nn.Maxout(0), "Maxout: pool must be a whole number of at least 1, got 0"),
        (lambda: nn.BatchNorm2d(0), "BatchNorm2d: num_features must be a whole number of at least 1, got 0"),
        (lambda: nn.BatchNorm2d(3, eps=-1.0), "BatchNorm2d: eps must not be negative, got -1.0"),
        (
            lambda: nn.BatchNorm1d(3, momentum=1.5),
            "BatchNorm1d: momentum is the weight of the newest batch, between 0 and 1 (or None for the plain mean of "
            "all), got 1.5",
        ),
        (
            lambda: nn.BatchNorm2d(3)(minidl.zeros(2, 3, 4)),
            "BatchNorm2d takes inputs of 4 axes (N, C, ...), not of shape (2, 3, 4)",
        ),
        (
            lambda: nn.InstanceNorm1d(3)(minidl.zeros(2, 3, 4, 5)),
            "InstanceNorm1d takes inputs of 2 or 3 axes (N, C, ...), not of shape (2, 3, 4, 5)",
        ),
        (
            lambda: nn.InstanceNorm2d(3)(minidl.zeros(2, 4, 4, 5)),
            "InstanceNorm2d was made for 3 channels, but the input (2, 4, 4, 5) has 4",
        ),
        (
            lambda: nn.BatchNorm2d(3)(minidl.zeros(2, 4, 5, 3)),
            "BatchNorm2d was made for 3 channels, but the input (2, 4, 5, 3) has 4: it looks channels-last, try "
            "input.movedim(-1, 1)",
        ),
        (
            lambda: nn.GroupNorm(2, 4)(minidl.zeros(2, 6, 5)),
            "GroupNorm was made for 4 channels, but the input (2, 6, 5) has 6",
        ),
        (
            lambda: nn.LayerNorm([]),
            "LayerNorm: normalized_shape names the last axes of the input, it must not be empty",
        ),
        (lambda: nn.RMSNorm((3, 0)), "RMSNorm: normalized_shape[1] must be a whole number of at least 1, got 0"),
        (lambda: nn.GroupNorm(4, 6), "GroupNorm: num_groups = 4 must divide num_channels = 6, but 6 / 4 = 1.5"),
        (lambda: nn.LocalResponseNorm(0), "LocalResponseNorm: size must be a whole number of at least 1, got 0"),
        (lambda: nn.Dropout(1.5), "Dropout: p is the probability to drop a value, between 0 and 1, got 1.5"),
        (lambda: nn.PReLU(0), "PReLU: num_parameters must be a whole number of at least 1, got 0"),
        (lambda: nn.CELU(0), "CELU: alpha must not be zero, the exponent is x / alpha"),
        (lambda: nn.GELU("erf"), "GELU: approximate must be 'none' or 'tanh', not 'erf'"),
        (lambda: nn.Hardtanh(1, 1), "Hardtanh: min_val = 1 must lie below max_val = 1"),
        (
            lambda: nn.Softmax2d()(minidl.zeros(2, 3)),
            "Softmax2d takes (N, C, H, W) or (C, H, W), not an input of shape (2, 3)",
        ),
        (lambda: nn.Embedding(3, 2, 3), "Embedding: padding_idx = 3 is none of the 3 rows"),
        (lambda: nn.Embedding.from_pretrained(minidl.zeros(3)), "needs a matrix (rows, width), got shape (3,)"),
        (
            lambda: nn.ZeroPad2d((1, 2)),
            "ZeroPad2d: padding must be one whole number or the 4 numbers (left, right, top, bottom), got (1, 2)",
        ),
        (
            lambda: nn.ReflectionPad1d(0.5),
            "ReflectionPad1d: padding must be one whole number or the 2 numbers (left, right), got 0.5",
        ),
        (lambda: nn.Unflatten(1, (-1, -1)), "Unflatten: the sizes must be whole numbers, at most one of them -1"),
        (lambda: nn.PixelShuffle(0), "PixelShuffle: upscale_factor must be a whole number of at least 1, got 0"),
        (lambda: nn.MSELoss(reduction="avg"), "MSELoss: reduction must be one of 'none', 'mean', 'sum', not 'avg'"),
        (
            lambda: nn.CrossEntropyLoss(label_smoothing=2),
            "CrossEntropyLoss: label_smoothing must lie between 0 and 1, got 2",
        ),
        (lambda: nn.SmoothL1Loss(beta=-1), "SmoothL1Loss: beta must not be negative, got -1"),
        (lambda: nn.HuberLoss(delta=0), "HuberLoss: delta must be positive, got 0"),
        (lambda: nn.Softshrink(-1), "Softshrink: lambd must not be negative, got -1"),
        (lambda: nn.Upsample(), "Upsample needs either size or scale_factor, got size=None and scale_factor=None"),
        (lambda: nn.Upsample(3, 2.0), "Upsample needs either size or scale_factor, got size=3 and scale_factor=2.0"),
        (lambda: nn.TripletMarginLoss(0), "TripletMarginLoss: margin must be positive, got 0"),
        (lambda: nn.MultiMarginLoss(p=3), "MultiMarginLoss: p must be 1 or 2, got 3"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "name, shape, axes",
    [
        ("Dropout", (40, 50), 2),
        ("Dropout1d", (40, 50, 3), 2),
        ("Dropout2d", (40, 50, 2, 3), 2),
        ("Dropout3d", (40, 50, 2, 1, 2), 2),
        ("Dropout", (20, 10, 10), 3),
        ("Dropout1d", (1000, 3), 1),
    ],
)
def test_dropout_drops_units_and_scales_the_rest(name, shape, axes):
    """A unit, one position of the first ``axes`` axes, is dropped or kept as a whole."""
    layer = getattr(nn, name)(0.3, generator=minidl.Generator(1))
    x = minidl.ones(shape).requires_grad_()
    y = layer(x).detach().numpy()
    kept = y[(slice(None),) * axes + (slice(0, 1),) * (len(shape) - axes)]
    np.testing.assert_array_equal(y, np.broadcast_to(kept, shape))
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.7], rtol=1e-6)
    assert (kept == 0).mean() == pytest.approx(0.3, abs=0.05)
    assert not np.array_equal(layer(x).detach().numpy(), y)  # the next call draws anew
    again = getattr(nn, name)(0.3, generator=minidl.Generator(1))(x)
    np.testing.assert_array_equal(again.detach().numpy(), y)
    g = np.random.default_rng(0).standard_normal(shape).astype("float32")
    again.backward(minidl.tensor(g))
    np.testing.assert_allclose(x.grad.numpy(), g * y, rtol=1e-6)
    assert layer.eval()(x) is x


@pytest.mark.parametrize(
    "name, args",
    [
        *((n, ()) for n in ("ReLU", "LeakyReLU", "ELU", "CELU", "SELU", "SiLU", "Mish", "ReLU6", "Hardtanh")),
        *((n, ()) for n in ("Hardsigmoid", "Hardswish", "Dropout", "AlphaDropout")),
        ("Threshold", (0.1, 2.0)),
    ],
)
def test_inplace_overwrites_the_input(name, args):
    make = getattr(nn, name)
    values = np.random.default_rng(0).uniform(-3, 7, (4, 5)).astype("float32")
    x, kept = minidl.tensor(values), minidl.tensor(values)
    minidl.manual_seed(0)
    wanted = make(*args)(kept)
    minidl.manual_seed(0)
    y = make(*args, inplace=True)(x)
    assert y is x and wanted is not kept
    np.testing.assert_array_equal(x.numpy(), wanted.numpy())
    np.testing.assert_array_equal(kept.numpy(), values)
    assert not np.array_equal(x.numpy(), values)


def test_inplace_where_nothing_is_done():
    """Evaluation writes nothing, so a leaf may go through."""
    x = minidl.tensor([1.0, 2.0], requires_grad=True)
    assert nn.Dropout(0.5, inplace=True).eval()(x) is x and nn.Dropout(0.0, inplace=True)(x) is x


def test_alpha_dropout_keeps_mean_and_variance():
    layer = nn.AlphaDropout(0.2, generator=minidl.Generator(2))
    x = minidl.randn(300, 300, generator=minidl.Generator(3))
    y = layer(x).numpy()
    assert abs(y.mean()) < 0.02 and y.var() == pytest.approx(1, abs=0.02)
    assert not np.array_equal(y, x.numpy()) and layer.eval()(x) is x


def test_local_response_norm_in_the_papers_convention():
    x = minidl.randn(2, 7, 3, 4, dtype="float64", generator=minidl.Generator(1))
    mean, total = nn.LocalResponseNorm(5, 5e-4), nn.LocalResponseNorm(5, 1e-4, average=False)
    np.testing.assert_allclose(mean(x).numpy(), total(x).numpy(), rtol=1e-12)
    assert repr(total) == "LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0, average=False)"


def test_maxout_takes_the_largest_of_neighbouring_channels():
    x = np.random.default_rng(0).standard_normal((2, 6, 3, 4))
    layer = nn.Maxout(2)
    np.testing.assert_array_equal(layer(minidl.tensor(x)).numpy(), x.reshape(2, 3, 2, 3, 4).max(2))
    assert repr(layer) == "Maxout(pool=2)"


def test_conv_with_uneven_padding_and_a_forced_algorithm():
    x = minidl.randn(2, 3, 6, 7, dtype="float64", generator=minidl.Generator(1))
    layers = [nn.Conv2d(3, 4, 3, padding=((0, 2), (1, 1)), algorithm=a).double() for a in (None, "im2col", "fft")]
    assert "padding=((0, 2), (1, 1))" in repr(layers[0])
    padded = nn.Conv2d(3, 4, 3).double()
    for layer in (*layers, padded):
        layer.load_state_dict(layers[0].state_dict())
    wanted = padded(nn.functional.pad(x, (1, 1, 0, 2))).detach().numpy()
    for layer in layers:
        np.testing.assert_allclose(layer(x).detach().numpy(), wanted, rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match="nonsense"):
        nn.Conv2d(3, 4, 3, algorithm="nonsense")(minidl.zeros(1, 3, 5, 5))


def test_reset_puts_norms_back_to_the_beginning():
    norm = nn.BatchNorm1d(3)
    fresh = {k: v.numpy().copy() for k, v in norm.state_dict().items()}
    norm(minidl.randn(5, 3))
    minidl.nn.init.uniform_(norm.weight)
    assert norm.num_batches_tracked.item() == 1
    norm.reset_parameters(), norm.reset_running_stats()
    for name, value in norm.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), fresh[name])
