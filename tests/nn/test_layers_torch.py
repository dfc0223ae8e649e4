"""Every layer with parameters copied from torch: forward, gradients, buffers, state dict and repr, in float64."""

import re
import zlib

import numpy as np
import pytest

import minidl
from minidl import nn

torch = pytest.importorskip("torch")
tnn = torch.nn
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::UserWarning:torch")]


class Case:
    """One layer: its name and arguments, the shapes of its inputs, and what is special about it."""

    def __init__(self, name, *args, x, same_repr=True, modes=(True, False), rtol=1e-10, **kwargs):
        self.name, self.args, self.kwargs = name, args, kwargs
        self.shapes = [x] if isinstance(x, tuple) else x
        self.same_repr, self.modes, self.rtol = same_repr, modes, rtol

    @property
    def id(self):
        shown = [repr(a) for a in self.args] + [f"{k}={v!r}" for k, v in self.kwargs.items()]
        return f"{self.name}({','.join(shown)})" + "x".join(map(str, self.shapes[0]))

    __str__ = __repr__ = lambda self: self.id


C = Case
CASES = [
    C("Identity", x=(2, 3)),
    C("Linear", 5, 3, x=(4, 5)),
    C("Linear", 5, 3, bias=False, x=(2, 4, 5)),
    C("Linear", 5, 3, x=(0, 5)),
    C("Bilinear", 3, 4, 5, x=[(2, 3), (2, 4)]),
    C("Linear", 0, 3, x=(2, 0)),
    C("Linear", 3, 0, x=(2, 3)),
    C("CosineSimilarity", x=[(2, 3, 4), (2, 3, 4)]),
    C("CosineSimilarity", dim=-1, eps=0.5, x=[(2, 4), (2, 4)]),
    C("PairwiseDistance", x=[(2, 4), (2, 4)]),
    C("PairwiseDistance", p=1.0, keepdim=True, x=[(2, 4), (2, 4)]),
    C("Bilinear", 3, 4, 5, bias=False, x=[(2, 6, 3), (2, 6, 4)]),
    C("Conv1d", 4, 6, 3, 2, 1, 2, 2, x=(2, 4, 11)),
    C("Conv1d", 3, 5, 4, padding="same", x=(2, 3, 9)),
    C("Conv1d", 3, 5, 1, x=(3, 9)),
    C("Conv2d", 3, 4, (2, 3), (1, 2), (1, 0), x=(2, 3, 6, 7)),
    C("Conv2d", 4, 6, (3, 2), (2, 1), (2, 1), (1, 2), 2, False, x=(2, 4, 7, 6)),
    C("Conv2d", 4, 8, 3, groups=4, padding=1, x=(2, 4, 5, 6)),
    C("Conv2d", 3, 2, (4, 3), padding="same", dilation=(1, 2), x=(2, 3, 6, 7)),
    C("Conv2d", 3, 2, 3, padding="valid", stride=4, x=(2, 3, 9, 8)),
    C("Conv2d", 3, 2, (5, 6), x=(2, 3, 5, 6)),
    C("Conv2d", 3, 2, 1, x=(0, 3, 5, 6)),
    *(C("Conv2d", 3, 4, (3, 5), (2, 1), (1, 2), padding_mode=m, x=(2, 3, 6, 7)) for m in ("reflect", "replicate")),
    C("Conv2d", 3, 4, (4, 3), padding="same", padding_mode="circular", x=(2, 3, 6, 7)),
    C("Conv1d", 3, 4, 4, padding="same", padding_mode="reflect", dilation=2, x=(2, 3, 9)),
    C("Conv3d", 2, 4, (2, 3, 1), (1, 2, 1), (0, 1, 2), groups=2, x=(2, 2, 4, 5, 3)),
    C("ConvTranspose1d", 4, 6, 3, 2, 1, 1, 2, x=(2, 4, 5)),
    C("ConvTranspose2d", 3, 4, (2, 3), (2, 3), (1, 0), (1, 2), x=(2, 3, 4, 5)),
    C("ConvTranspose2d", 4, 6, 3, 2, 1, 1, 2, False, 2, x=(2, 4, 3, 5)),
    C("ConvTranspose3d", 2, 3, (2, 1, 3), 2, x=(1, 2, 3, 2, 4)),
    C("MaxPool1d", 3, 2, 1, x=(2, 3, 9)),
    C("MaxPool2d", (3, 2), (1, 2), (1, 0), (1, 2), x=(2, 3, 7, 8)),
    C("MaxPool2d", 3, 2, ceil_mode=True, x=(2, 3, 6, 8)),
    C("MaxPool2d", 2, 3, x=(2, 3, 8, 9)),
    C("MaxPool3d", 2, x=(2, 3, 4, 5, 6)),
    C("AvgPool1d", 3, 2, 1, x=(2, 3, 9)),
    C("AvgPool1d", 3, 2, 1, True, False, x=(2, 3, 10)),
    C("AvgPool2d", (3, 2), (1, 2), (1, 0), x=(2, 3, 7, 8)),
    C("AvgPool2d", 3, 2, 1, True, False, x=(2, 3, 6, 8)),
    C("AvgPool2d", 3, 2, 0, False, True, 5, x=(2, 3, 7, 8)),
    C("AvgPool3d", 2, count_include_pad=False, padding=1, x=(2, 3, 4, 5, 6)),
    C("LPPool1d", 2, 3, x=(2, 3, 9)),
    C("LPPool2d", 4, (2, 3), 2, x=(2, 3, 7, 8)),
    C("LPPool3d", 2, 2, x=(2, 3, 4, 5, 6)),
    C("AdaptiveAvgPool1d", 4, x=(2, 3, 10)),
    C("AdaptiveAvgPool2d", (2, None), x=(2, 3, 5, 7)),
    C("AdaptiveAvgPool2d", 1, x=(2, 3, 5, 7)),
    C("AdaptiveAvgPool3d", (2, 3, 1), x=(2, 3, 4, 5, 6)),
    C("AdaptiveMaxPool1d", 4, x=(2, 3, 10)),
    C("AdaptiveMaxPool2d", (2, 3), x=(2, 3, 5, 7)),
    C("AdaptiveMaxPool3d", 2, x=(2, 3, 4, 5, 6)),
    C("Unfold", (2, 3), 2, 1, (1, 2), x=(2, 3, 6, 7)),
    C("Fold", (5, 6), (2, 3), padding=1, stride=(1, 2), x=(2, 12, 18)),
    C("PixelShuffle", 3, x=(2, 18, 2, 3)),
    C("PixelUnshuffle", 2, x=(2, 3, 4, 6)),
    C("ChannelShuffle", 3, x=(2, 6, 4, 5), same_repr=False),
    C("Upsample", scale_factor=2, x=(2, 3, 4, 5)),
    C("Upsample", (5, 9), mode="bilinear", align_corners=True, x=(2, 3, 4, 5)),
    C("Upsample", None, (1.5, 2), "bilinear", x=(2, 3, 4, 5)),
    C("Flatten", x=(2, 3, 4)),
    C("Flatten", 0, 1, x=(2, 3, 4)),
    C("Unflatten", 1, (2, 3), x=(4, 6, 2)),
    C("BatchNorm1d", 3, x=(5, 3)),
    C("BatchNorm1d", 3, momentum=None, x=(5, 3, 4)),
    C("BatchNorm2d", 3, x=(4, 3, 5, 6)),
    C("BatchNorm2d", 3, 1e-3, 0.3, affine=False, x=(4, 3, 5, 6)),
    C("BatchNorm2d", 3, track_running_stats=False, x=(4, 3, 5, 6)),
    C("BatchNorm3d", 2, x=(2, 2, 3, 4, 5)),
    C("InstanceNorm1d", 3, affine=True, x=(2, 3, 7)),
    C("InstanceNorm2d", 3, track_running_stats=True, x=(2, 3, 4, 5)),
    C("InstanceNorm2d", 3, x=(3, 4, 5)),
    C("InstanceNorm3d", 2, affine=True, track_running_stats=True, x=(2, 2, 3, 4, 5)),
    C("LayerNorm", 5, x=(2, 3, 5)),
    C("LayerNorm", [3, 5], bias=False, x=(2, 3, 5)),
    C("LayerNorm", (5,), elementwise_affine=False, x=(2, 5)),
    C("GroupNorm", 2, 6, x=(3, 6, 4, 5)),
    C("GroupNorm", 3, 6, affine=False, x=(3, 6, 4)),
    C("RMSNorm", 5, x=(2, 3, 5)),
    C("RMSNorm", (3, 5), 1e-4, False, x=(2, 3, 5)),
    C("LocalResponseNorm", 3, 0.5, 0.6, 2.0, x=(2, 7, 3, 4)),
    C("LocalResponseNorm", 4, x=(2, 7, 5)),
    C("Dropout", 0.3, x=(3, 4), modes=(False,)),
    C("Dropout2d", 0.0, x=(3, 4, 2, 2)),
    C("ReLU", x=(3, 4)),
    C("ReLU", True, x=(3, 4), modes=()),
    C("LeakyReLU", 0.2, x=(3, 4)),
    C("PReLU", x=(3, 4)),
    C("PReLU", 4, 0.1, x=(3, 4, 2)),
    C("ELU", 0.7, x=(3, 4)),
    C("CELU", 0.7, x=(3, 4), rtol=1e-7),  # torch keeps 1 / alpha in float32
    C("SELU", x=(3, 4)),
    C("GELU", x=(3, 4)),
    C("GELU", "tanh", x=(3, 4)),
    C("SiLU", x=(3, 4)),
    C("Mish", x=(3, 4)),
    C("Sigmoid", x=(3, 4)),
    C("Tanh", x=(3, 4)),
    C("LogSigmoid", x=(3, 4)),
    C("Softplus", 2.0, 1.0, x=(3, 4)),
    C("Softsign", x=(3, 4)),
    C("Hardtanh", -0.5, 0.7, x=(3, 4)),
    C("ReLU6", x=(3, 4)),
    C("Hardsigmoid", x=(3, 4), rtol=1e-7),  # torch keeps 1 / 6 in float32
    C("Hardswish", x=(3, 4)),
    C("Threshold", 0.1, -2.0, x=(3, 4)),
    C("Hardshrink", 0.4, x=(3, 4)),
    C("Softshrink", 0.3, x=(3, 4)),
    C("Tanhshrink", x=(3, 4)),
    C("GLU", 1, x=(3, 4, 2)),
    C("Softmax", 1, x=(3, 4, 2)),
    C("LogSoftmax", 0, x=(3, 4, 2)),
    C("Softmin", 1, x=(3, 4, 2)),
    C("Softmax2d", x=(3, 4, 2, 5)),
    C("ZeroPad1d", 2, x=(2, 3, 4)),
    C("ZeroPad2d", (1, 0, -1, 2), x=(2, 3, 4, 5)),
    C("ZeroPad3d", 1, x=(1, 2, 3, 4, 5)),
    *(C(f"ConstantPad{n}d", 1, 2.5, x=(2, 3, 4, 5, 6)[: n + 2]) for n in (1, 2, 3)),
    *(C(f"ReflectionPad{n}d", (1, 2, 2, 1, 1, 0)[: 2 * n], x=(2, 3, 4, 5, 6)[: n + 2]) for n in (1, 2, 3)),
    *(C(f"ReplicationPad{n}d", (1, 2, 0, 3, 1, 0)[: 2 * n], x=(2, 3, 4, 5, 6)[: n + 2]) for n in (1, 2, 3)),
    *(C(f"CircularPad{n}d", (1, 2, 0, 3, 1, 0)[: 2 * n], x=(2, 3, 4, 5, 6)[: n + 2]) for n in (1, 2, 3)),
]  # fmt: skip


def rng_for(case):
    return np.random.default_rng(zlib.crc32(case.id.encode()))


def make(case):
    """torch's layer and ours in float64, with the same random values in all floating-point parameters and buffers."""
    rng = rng_for(case)
    theirs = getattr(tnn, case.name)(*case.args, **case.kwargs).double()
    ours = getattr(nn, case.name)(*case.args, **case.kwargs).double()
    state = {}
    for name, value in theirs.state_dict().items():
        state[name] = value.numpy() if value.dtype == torch.int64 else rng.uniform(0.2, 1.5, tuple(value.shape))
    theirs.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in state.items()})
    ours.load_state_dict(state)
    return ours, theirs, rng


def assert_close(ours, theirs, what, rtol=1e-10):
    np.testing.assert_allclose(
        ours.detach().numpy(), theirs.detach().numpy(), rtol=rtol, atol=1e-12, err_msg=what, strict=True
    )


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_names_shapes_and_repr_are_torchs(case):
    ours, theirs = getattr(nn, case.name)(*case.args, **case.kwargs), getattr(tnn, case.name)(*case.args, **case.kwargs)
    described = [(k, tuple(v.shape), str(v.dtype).removeprefix("torch.")) for k, v in theirs.state_dict().items()]
    assert [(k, v.shape, str(v.dtype)) for k, v in ours.state_dict().items()] == described
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    if case.same_repr:
        assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("case, training", [(c, m) for c in CASES for m in c.modes], ids=str)
def test_forward_gradients_and_buffers_are_torchs(case, training):
    ours, theirs, rng = make(case)
    ours.train(training), theirs.train(training)
    for call in range(2):  # the second call sees the buffers of the first and adds to its gradients
        values = [rng.standard_normal(shape) for shape in case.shapes]
        x = [minidl.tensor(v, requires_grad=True) for v in values]
        tx = [torch.tensor(v, requires_grad=True) for v in values]
        y, ty = ours(*x), theirs(*tx)
        assert_close(y, ty, f"result of call {call}")
        g = rng.standard_normal(y.shape)
        y.backward(minidl.tensor(g))
        ty.backward(torch.tensor(g))
        for i, (a, b) in enumerate(zip(x, tx)):
            assert_close(a.grad, b.grad, f"gradient of input {i}, call {call}", case.rtol)
        gradients = dict(theirs.named_parameters())
        for name, p in ours.named_parameters():
            assert_close(p.grad, gradients[name].grad, f"gradient of {name}, call {call}")
        buffers = dict(theirs.named_buffers())
        for name, b in ours.named_buffers():
            assert_close(b, buffers[name], f"buffer {name} after call {call}")


def test_the_table_has_every_layer_that_torch_has_too():
    base = [n for n in dir(nn) if isinstance(getattr(nn, n), type) and issubclass(getattr(nn, n), nn.Module)]
    layers = {n for n in base if hasattr(tnn, n) and not re.search("Loss$|RNN|LSTM|GRU|Module|Sequential|Parameter", n)}
    elsewhere = {"Embedding", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d", "Dropout1d", "Dropout3d", "AlphaDropout"}
    assert layers - elsewhere == {case.name for case in CASES}


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_max_unpool_undoes_max_pool_as_torch(ndim):
    rng = np.random.default_rng(ndim)
    v = rng.standard_normal((2, 3, 7, 6, 5)[: ndim + 2])
    results = []
    for lib, x in ((nn, minidl.tensor(v, requires_grad=True)), (tnn, torch.tensor(v, requires_grad=True))):
        pool = getattr(lib, f"MaxPool{ndim}d")(3, 2, return_indices=True)
        unpool = getattr(lib, f"MaxUnpool{ndim}d")(3, 2)
        y, where = pool(x)
        back = unpool(y, where, output_size=x.shape)
        (back * back).sum().backward()
        results.append((where, back, x.grad, repr(pool), repr(unpool)))
    ours, theirs = results
    assert_close(ours[0], theirs[0], "indices")
    assert_close(ours[1], theirs[1], "result")
    assert_close(ours[2], theirs[2], "gradient")
    assert ours[3:] == theirs[3:]


def test_embedding_is_torchs_also_for_repeated_rows_and_padding():
    rng = np.random.default_rng(3)
    weight, index = rng.standard_normal((7, 4)), np.array([[1, 3, 3], [-1 % 7, 0, 3]])
    ours, theirs = nn.Embedding(7, 4, padding_idx=-4).double(), tnn.Embedding(7, 4, padding_idx=-4).double()
    assert repr(ours) == repr(theirs) == "Embedding(7, 4, padding_idx=3)"
    assert not ours.weight[3].detach().numpy().any()
    ours.load_state_dict({"weight": weight})
    theirs.load_state_dict({"weight": torch.tensor(weight)})
    y, ty = ours(minidl.tensor(index)), theirs(torch.tensor(index))
    assert_close(y, ty, "rows")
    g = rng.standard_normal(y.shape)
    y.backward(minidl.tensor(g)), ty.backward(torch.tensor(g))
    assert_close(ours.weight.grad, theirs.weight.grad, "gradient")
    frozen = nn.Embedding.from_pretrained(minidl.tensor(weight))
    assert not frozen.weight.requires_grad and frozen.weight.dtype == np.float64
    assert_close(frozen(minidl.tensor(index)), torch.tensor(weight[index]), "pretrained")


T = np.array([[0.3, 1.2, -0.4], [0.8, -1.0, 0.1], [0.2, 0.6, 2.0], [0.5, 0.1, -0.3]])
CLASSES = np.array([2, 0, 1, 2])
SIGNS = np.array([1.0, -1.0, -1.0, 1.0])
LOSSES = [
    ("CrossEntropyLoss", {}, [T, CLASSES]),
    ("CrossEntropyLoss", {"weight": [0.2, 1.0, 3.0], "label_smoothing": 0.2, "ignore_index": 1}, [T, CLASSES]),
    ("CrossEntropyLoss", {"reduction": "none"}, [T, np.abs(T)]),
    ("NLLLoss", {"weight": [0.2, 1.0, 3.0], "ignore_index": 0}, [T, CLASSES]),
    ("BCELoss", {"weight": [0.2, 1.0, 3.0]}, [1 / (1 + np.exp(-T)), (T > 0) * 1.0]),
    ("BCEWithLogitsLoss", {"pos_weight": [0.2, 1.0, 3.0], "weight": [1.0, 2.0, 0.5]}, [T, (T > 0) * 1.0]),
    ("MSELoss", {"reduction": "sum"}, [T, T[::-1].copy()]),
    ("L1Loss", {}, [T, T[::-1].copy()]),
    ("SmoothL1Loss", {"beta": 0.7}, [T, T[::-1].copy()]),
    ("HuberLoss", {"delta": 0.7, "reduction": "none"}, [T, T[::-1].copy()]),
    ("KLDivLoss", {"reduction": "batchmean"}, [T, np.abs(T)]),
    ("KLDivLoss", {"log_target": True}, [T, T[::-1].copy()]),
    ("HingeEmbeddingLoss", {"margin": 0.7}, [T, np.sign(T[::-1])]),
    ("SoftMarginLoss", {}, [T, np.sign(T[::-1])]),
    ("MultiMarginLoss", {"p": 2, "margin": 0.7, "weight": [0.2, 1.0, 3.0]}, [T, CLASSES]),
    ("MarginRankingLoss", {"margin": 0.1}, [T[:, 0], T[:, 1], SIGNS]),
    ("MultiLabelSoftMarginLoss", {"weight": [0.2, 1.0, 3.0]}, [T, (T > 0) * 1.0]),
    ("PoissonNLLLoss", {"full": True}, [T, np.round(4 * np.abs(T))]),
    ("PoissonNLLLoss", {"log_input": False, "reduction": "sum"}, [np.abs(T), np.round(4 * np.abs(T))]),
    ("GaussianNLLLoss", {"full": True}, [T, T[::-1].copy(), np.abs(T[:, ::-1]) + 0.1]),
    ("TripletMarginLoss", {"swap": True, "margin": 0.5, "p": 3}, [T, T[::-1].copy(), np.roll(T, 1, 1)]),
    ("CosineEmbeddingLoss", {"margin": 0.1}, [T, T[::-1].copy(), SIGNS]),
]


@pytest.mark.parametrize("name, settings, values", LOSSES, ids=lambda v: v if isinstance(v, str) else None)
def test_losses_are_torchs(name, settings, values):
    lists = {k: np.array(v) for k, v in settings.items() if isinstance(v, list)}
    ours = getattr(nn, name)(**settings | {k: minidl.tensor(v) for k, v in lists.items()})
    theirs = getattr(tnn, name)(**settings | {k: torch.tensor(v) for k, v in lists.items()})
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x, tx = minidl.tensor(values[0], requires_grad=True), torch.tensor(values[0], requires_grad=True)
    y, ty = ours(x, *map(minidl.tensor, values[1:])), theirs(tx, *map(torch.tensor, values[1:]))
    assert_close(y, ty, "loss")
    g = np.random.default_rng(0).standard_normal(y.shape)
    y.backward(minidl.tensor(g)), ty.backward(torch.tensor(g))
    assert_close(x.grad, tx.grad, "gradient")


def test_every_loss_of_both_is_compared():
    ours = {n for n in dir(nn) if n.endswith("Loss") and hasattr(tnn, n)}
    assert ours == {name for name, *_ in LOSSES}


def test_float32_stays_float32_and_is_close_to_torch():
    theirs = tnn.Sequential(tnn.Conv2d(3, 4, 3), tnn.BatchNorm2d(4), tnn.GELU(), tnn.Flatten(), tnn.Linear(4 * 20, 5))
    ours = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.Flatten(), nn.Linear(4 * 20, 5))
    ours.load_state_dict(theirs.state_dict())
    v = np.random.default_rng(1).standard_normal((2, 3, 6, 7)).astype("float32")
    y = ours(minidl.tensor(v))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.detach().numpy(), theirs(torch.tensor(v)).detach().numpy(), rtol=1e-4, atol=1e-5)
