"""Mistakes whose messages no other test asserts in full (tests/test_messages.py finds them)."""

import dataclasses
import pickle
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minidl
from minidl import models, nn, see
from minidl.data import ArrayDataset, DataLoader, SampleError, Sampler
from minidl.data import transforms as T
from minidl.data.cifar import parse_cifar_pickle
from minidl.io import atomic_write, save_safetensors, torch_file, torch_pickle
from minidl.kernels import conv, pooling, resize
from minidl.kernels.geometry import Conv
from minidl.kernels.pooling import Pool
from minidl.nn import functional as F
from minidl.optim import SGD, lr_scheduler
from minidl.see import names
from minidl.see.explain.norm import BackwardOfNorm
from minidl.train import TrainConfig, TrainingError, start_run, steps
from minidl.train.losses import total_loss

z, t = minidl.zeros, minidl.tensor
CONV = Conv.from_shapes((1, 1, 4, 4), (1, 1, 3, 3))


def parameter():
    return nn.Parameter(z(2))


def pooled(algorithm):
    pooling.max_pool(np.zeros((1, 1, 4, 4), np.float32), Pool.from_shape((1, 1, 4, 4), 2), algorithm=algorithm)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: minidl.nothing, "module 'minidl' has no attribute 'nothing'"),
        (lambda: bool(z(2)), "is neither true nor false: use .any() or .all(), or compare shapes"),
        (lambda: t(2**63), "tensor: 9223372036854775808 does not fit into int64, which ends at 2**63 - 1"),
        (
            lambda: minidl.autograd.grad(z(1).requires_grad_() * 2, z(1).requires_grad_()),
            "); pass allow_unused=True to get None for it",
        ),
        (lambda: z(2, 3) + z(2), "has 3 entries in one and 2 in the other; they must agree, or one of them must be 1"),
        (lambda: z(2, 3).gather(0, z(2, 3) > 0), "gather: the index must be integers, not bool"),
        (
            lambda: z(2, 3).gather(0, t([0])),
            "gather: the index has 1 dimensions, the input 2: they must agree",
        ),
        (
            lambda: z(2, 3).gather(0, z(1, 4, dtype="int64")),
            "gather: the index (1, 4) is longer than the input (2, 3) on axis 1",
        ),
        (
            lambda: z(2, 3).index_select(0, t([[0]])),
            "index_select: the index must have one dimension, not shape (1, 1)",
        ),
        (lambda: z(2, 3) @ t(1.0), "matmul needs at least one dimension on both sides; for numbers use *"),
        (lambda: minidl.einsum("a,a", z(2)), "describes 2 operands, 1 were given"),
        (lambda: minidl.einsum("aa->", z(2, 3)), "einsum 'aa->': letter 'a' is 2 and 3 in operand 0"),
        (lambda: z(2, 3).inverse(), "inv needs square matrices (..., n, n), got shape (2, 3)"),
        (lambda: z(2, 3, 4).t(), "t() is for matrices, this tensor has 3 dimensions: use transpose or permute"),
        (lambda: z(2, 3).repeat(2), "repeat: (2,) has fewer entries than the tensor has axes (2)"),
        (lambda: z(2, 3).roll((1, 2), (0,)), "roll: 2 shifts for 1 dims"),
        (
            lambda: minidl.cat([z(2, 3), z(2)]),
            "cat along dim 0: all other lengths must agree, but tensor 1 does not fit: (2, 3), (2,)",
        ),
        (
            lambda: lr_scheduler.LinearLR(SGD([parameter()]), start_factor=2.0),
            "LinearLR: start_factor must lie in (0, 1], got 2.0",
        ),
        (lambda: lr_scheduler.SequentialLR(SGD([parameter()]), [], []), "SequentialLR: 0 schedules need -1 milestones"),
        (
            lambda: lr_scheduler.ReduceLROnPlateau(SGD([parameter()]), factor=1.0),
            "ReduceLROnPlateau: factor must be below 1, got 1.0",
        ),
        (
            lambda: SGD([parameter()]).load_state_dict({"state": {}, "param_groups": []}),
            "the saved optimiser has groups of [] parameters, this one of [1]",
        ),
        (lambda: SGD([3]), "an optimiser updates tensors, not int"),
        (lambda: SGD([parameter() * 2]), "an optimiser can only update leaves, not computed tensors"),
        (lambda: SGD([parameter()], nesterov=True), "SGD: Nesterov's method needs momentum above 0 and no dampening"),
        (
            lambda: minidl.optim.DampenedSGD([parameter()], lr=0.1, beta=1.0),
            "DampenedSGD: beta must lie in [0, 1), got 1.0",
        ),
        (lambda: minidl.optim.l2_penalty([], 0.1), "a penalty needs at least one parameter"),
        (
            lambda: nn.init.calculate_gain("softplus"),
            ": use linear, conv2d, sigmoid, tanh, relu, leaky_relu or selu, or pass a number where the initialiser",
        ),
        (
            lambda: nn.Linear(2, 2).load_state_dict(nn.Linear(2, 2).state_dict(), assign=True),
            "load_state_dict copies values: assign=True, which would replace the tensors, is not taken",
        ),
        (lambda: ArrayDataset(), "ArrayDataset needs at least one array"),
        (lambda: Sampler().order(0), "Sampler has to define order(epoch)"),
        (
            lambda: T.Normalize([0.5, 0.5], [1.0, 1.0])(np.zeros((3, 4, 4), np.float32)),
            ", or move the channels to the front",
        ),
        (lambda: atomic_write("x", "a").__enter__(), 'atomic_write writes whole files: mode is "wb" or "w", not \'a\''),
        (
            lambda: save_safetensors("x", {}, {"epoch": 3}),  # type: ignore[dict-item]
            "metadata is text: 'epoch' -> 3; turn numbers into strings, e.g. str(3)",
        ),
        (lambda: pooled("fast"), "pooling has no algorithm 'fast' on cpu; it has "),
        (
            lambda: pooling.max_pool(np.zeros((1, 1, 5, 4), np.float32), Pool.from_shape((1, 1, 4, 4), 2)),
            ", but this window needs (1, 1, 4, 4)",
        ),
        (
            lambda: F.max_pool2d(z(1, 1, 2, 2), 2, 1, padding=1, dilation=3),
            "dilation = 3 steps over the whole input; use a smaller one, or less padding",
        ),
        (
            lambda: parse_cifar_pickle(pickle.dumps({"data": np.zeros((2, 5), np.uint8)}, 2), "f", (), (10,)),
            "f: an array of the wrong kind in 'data'; expected (N, 3072) of uint8, found (2, 5) of uint8",
        ),
        (lambda: torch_pickle._tensor_v3(None, 0, (), (), None, None, "x"), "a tensor without a dtype"),
        (lambda: torch_pickle._part(None, (1, 2)), "a malformed part of a storage"),
        (
            lambda: total_loss(lambda scores, y: scores, (z(2), z(2)), None),
            "does not say how much the auxiliary ones count: give it an attribute aux_weight, such as 0.3",
        ),
        (
            lambda: models.to_fully_convolutional(models.cifar_resnet20()),
            "CifarResNet has no `features` before a `classifier` of fully connected layers, as AlexNet",
        ),
        (
            lambda: models.to_fully_convolutional(models.lenet5(), map_size=(3, 4)),
            "16 maps of 3x4 are 192; say the size of the maps, map_size=(h, w) with h * w = 25",
        ),
        (
            lambda: resize.resize(np.zeros((1, 1, 3)), resize.Resize.from_shape((1, 1, 2), 4)),
            "interpolate: x has shape (1, 1, 3), this resizing needs (1, 1, 2)",
        ),
        (
            lambda: resize.resize_grad(np.zeros((1, 1, 3)), resize.Resize.from_shape((1, 1, 2), 4)),
            "interpolate: g has shape (1, 1, 3), this resizing gives (1, 1, 4)",
        ),
        (
            lambda: start_run("mlp", TrainConfig(options={"sizes": "64,7"}), Path("never-made")),
            "mlp gives (2, 7) for two images, but the data has 10 classes and training needs (2, 10)",
        ),
        (
            lambda: see.window(4, 3, padding=-1),
            "it would drop positions, which slicing does",
        ),
        (
            lambda: F.conv_transpose2d(z(3, 4), z(3, 2, 3, 3)),
            "w (C, K/G, R, S) = (3, 2, 3, 3)",
        ),
        (
            lambda: z(2, 3).expand(2, 4),
            "expand: (2, 3) does not stretch to (2, 4): axis 1 has length 3, only 1 can grow",
        ),
        (
            lambda: BackwardOfNorm().value(None, SimpleNamespace(of=None, label="#3"), 0, ()),  # type: ignore[arg-type]
            "#3 ran outside of a backward pass: ask for the gradient of what it belongs to",
        ),
        (
            lambda: names.find(None, "["),  # type: ignore[arg-type]
            "'[' names no number: write NAME[i,j,...], for example conv2[0,3,5,5] or conv1.weight.grad[0]",
        ),
        (
            lambda: models.linear_probe(nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)), "1", 2, (3,)),
            "layer 1 gives a result of shape (0,), which has no axis of features",
        ),
        (
            lambda: conv.forward(np.zeros((1, 1, 4, 4)), np.zeros((1, 1, 3, 3), np.float32), CONV),
            "x is float64 and w is float32: convert one of them, for example w.astype(x.dtype)",
        ),
        (
            lambda: dataclasses.replace(models.weights.find("resnet50"), file="a.none", address=()).fetch("nowhere"),
            "has no public address: put a.none there, or name your file with --weights",
        ),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(Exception, match=re.escape(message)):
        call()


def test_a_photo_needs_a_name_that_scikit_learn_has():
    cli = pytest.importorskip("minidl.cli._features")
    with pytest.raises(see.SeeError, match="rose: scikit-learn's photographs are sample:china and sample:flower"):
        cli.sample_photo("rose")


def test_a_loss_that_only_the_first_run_leaves_finite(tmp_path, monkeypatch):
    trainer = start_run("mlp", TrainConfig(epochs=1, augment="none"), tmp_path)
    monkeypatch.setattr(steps, "asked", lambda *step: np.array([float("nan"), 0.0, 1.0]))
    with pytest.raises(TrainingError, match=", but no single operation left the finite numbers when it was run again"):
        trainer.fit(1)


def test_a_batch_that_fails_where_each_of_its_samples_loads():
    class Moody:
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return np.zeros(2), index

        def get_batch(self, indices, rngs):
            raise RuntimeError("not today")

    with pytest.raises(SampleError, match=r"get_batch failed on .*, each of which loads alone: RuntimeError: not"):
        next(iter(DataLoader(Moody(), 2)))


def test_an_older_file_whose_keys_are_no_list():
    file = object.__new__(torch_file._Older)
    file.start, file.keys = 0, {}
    with pytest.raises(ValueError, match="the keys of the storages are no list"):
        file.read([])
