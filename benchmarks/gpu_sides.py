"""What ``gpu.py`` measures on a card: calls, ours and PyTorch's, and how long they take by CUDA's own clock.

Both libraries run in this process, on the default stream of the same card, so that CUDA's events see either alike.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import minidl
from minidl import nn, optim
from minidl.kernels import conv as kernels

from .networks import Network
from .shapes import Layer
from .side_minidl import kernel_pass, problem, y_shape
from .steps_minidl import create, describe
from .steps_side import LEARNING_RATE, MOMENTUM, operands

Call = Callable[[], Any]
ROTATED = 3  # times the size of the L2 that the operands of one measurement take, so that none of them is in it
MOST_COPIES = 8


class Card:
    """A card as CuPy sees it; ``batch_seconds`` is the least that one reading of the clock spans."""

    def __init__(self, cupy: Any, batch_seconds: float = 0.02) -> None:
        self.cp, self.batch_seconds = cupy, batch_seconds
        facts = cupy.cuda.runtime.getDeviceProperties(0)
        self.name = facts["name"].decode()
        self.capability = f"{facts['major']}.{facts['minor']}"
        self.memory = int(facts["totalGlobalMem"])
        self.l2 = int(facts.get("l2CacheSize", 0)) or 60 << 20
        self.random = cupy.random.default_rng(20)

    def has(self, algorithm: str) -> bool:
        """Whether the card has the instructions of a kernel."""
        return not algorithm.endswith("wgmma") or self.capability == "9.0"

    def normal(self, shape: Sequence[int], dtype: str = "float32", layout: str = "NCHW") -> Any:
        """Normally distributed; never zeros, which are faster on some hardware."""
        cp = self.cp
        if layout == "NCHW" or len(shape) < 3:
            return self.random.standard_normal(tuple(shape), "float32").astype(dtype)
        last = self.random.standard_normal((shape[0], *shape[2:], shape[1]), "float32").astype(dtype)
        return cp.moveaxis(last, -1, 1)

    def copies(self, nbytes: float) -> int:
        """How many sets of operands to go through in turn."""
        return max(1, min(MOST_COPIES, math.ceil(ROTATED * self.l2 / max(1, nbytes))))

    def turn(self, calls: Sequence[Call], seconds: float) -> list[float]:
        """Seconds of a call: one number for each batch of calls, for ``seconds`` in all."""
        once = max(self._time(calls, len(calls)), 1e-7)
        count = max(len(calls), math.ceil(self.batch_seconds / once))
        times = [self._time(calls, count)]
        while sum(times) * count < seconds:
            times.append(self._time(calls, count))
        return times

    def _time(self, calls: Sequence[Call], count: int) -> float:
        start, end = self.cp.cuda.Event(), self.cp.cuda.Event()
        start.record()
        for i in range(count):
            calls[i % len(calls)]()
        end.record()
        end.synchronize()
        return self.cp.cuda.get_elapsed_time(start, end) / 1e3 / count

    def free(self) -> None:
        """Give back what nothing holds any more, so that the other library can have it."""
        self.cp.get_default_memory_pool().free_all_blocks()


# ---- ours ----

PRECISIONS = {  # of algorithms that are not float32
    "tf32": "tf32", "bf16": "bfloat16", "fp16": "float16", "bf16_wgmma": "bfloat16", "fp16_wgmma": "float16",
}  # fmt: skip


def layer_calls(card: Card, layer: Layer, pass_: str, algorithm: str, layout: str = "channels-last") -> list[Call]:
    """One pass of a layer by one of our algorithms, on rotating operands."""
    conv = problem(layer)
    dtype = "float16" if algorithm.startswith("fp16") else "float32"
    shapes = layer.x_shape, layer.w_shape, y_shape(layer)
    calls: list[Call] = []
    for _ in range(card.copies(4 * sum(map(math.prod, shapes)))):
        x, w, g = (card.normal(s, dtype, layout if i != 1 else "NCHW") for i, s in enumerate(shapes))
        if layer.transposed:
            x, g = g, x
        function, given = {
            "forward": (kernels.forward, (x, w)),
            "input_grad": (kernels.input_grad, (w, g)),
            "weight_grad": (kernels.weight_grad, (x, g)),
        }[kernel_pass(layer, pass_)]
        calls.append(lambda function=function, given=given: function(*given, conv, algorithm))  # type: ignore[misc]
    return calls


def step_call(network: Network, kind: str, graph: bool, layout: str) -> Call:
    """A training step of ours: ``kind`` float32, float16 or bfloat16; ``graph``: captured."""
    model = create(network).cuda().train()
    images, labels = operands(network, network.batch)
    x, y = minidl.from_numpy(images).cuda(), minidl.from_numpy(labels).cuda()
    if layout == "channels-last":
        xp = x._xp
        x = minidl.from_numpy(xp.moveaxis(xp.ascontiguousarray(xp.moveaxis(x._array, 1, -1)), -1, 1))
    optimizer = optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    low = minidl.autocast("cuda", "float16" if kind == "float32" else kind, enabled=kind != "float32")

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        with low:
            loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    run = minidl.cuda.graph_step(step, warmup=1) if graph else step
    return lambda: run(x, y)


# ---- PyTorch's ----


class Mode(NamedTuple):
    """How PyTorch computes: the precision that is ours to compare with, and its switches."""

    name: str
    precision: str
    layout: str = "NCHW"
    tf32: bool = False
    benchmark: bool = True


MODES = (
    Mode("NCHW", "float32", benchmark=False), Mode("NCHW benchmark", "float32"),
    Mode("channels-last", "float32", "channels-last"),
    Mode("TF32 NCHW", "tf32", tf32=True), Mode("TF32 channels-last", "tf32", "channels-last", True),
    Mode("FP16 NCHW", "float16"), Mode("FP16 channels-last", "float16", "channels-last"),
    Mode("BF16 channels-last", "bfloat16", "channels-last"),
)  # fmt: skip


class Torch:
    """PyTorch on ``device``, "cuda" but in tests."""

    def __init__(self, device: str = "cuda") -> None:
        import torch

        self.torch, self.device = torch, device

    def stamp(self) -> dict[str, Any]:
        return {"torch": self.torch.__version__, "cudnn": self.torch.backends.cudnn.version()}

    @contextlib.contextmanager
    def mode(self, mode: Mode) -> Iterator[None]:
        """PyTorch's switches as ``mode`` says, as long as the block runs."""
        cudnn, matmul = self.torch.backends.cudnn, self.torch.backends.cuda.matmul
        before = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32
        cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = mode.benchmark, mode.tf32, mode.tf32
        try:
            yield
        finally:
            cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before

    def dtype(self, mode: Mode) -> Any:
        return {"float16": self.torch.float16, "bfloat16": self.torch.bfloat16}.get(mode.precision, self.torch.float32)

    def tensor(self, shape: Sequence[int], mode: Mode) -> Any:
        torch = self.torch
        t = torch.randn(tuple(shape), device=self.device).to(self.dtype(mode))
        return t.contiguous(memory_format=torch.channels_last) if mode.layout != "NCHW" and t.ndim == 4 else t

    def layer_calls(self, card: Card, layer: Layer, pass_: str, mode: Mode) -> list[Call]:
        torch, shapes = self.torch, (layer.x_shape, layer.w_shape, y_shape(layer))
        windows = (layer.stride, layer.padding, layer.dilation)
        extra = layer.output_padding or (0,) * len(layer.size)
        mask = [pass_ == "input_grad", pass_ == "weight_grad", False]
        backward = torch.ops.aten.convolution_backward
        calls: list[Call] = []
        for _ in range(card.copies(4 * sum(map(math.prod, shapes)))):
            x, w, g = (self.tensor(s, mode) for s in shapes)
            if pass_ == "forward":
                calls.append(
                    lambda x=x, w=w: torch.convolution(x, w, None, *windows, layer.transposed, extra, layer.groups)  # type: ignore[misc]
                )
            else:
                calls.append(
                    lambda x=x, w=w, g=g: backward(  # type: ignore[misc]
                        g, x, w, None, *windows, layer.transposed, extra, layer.groups, mask
                    )
                )
        return calls

    def step_call(self, network: Network, mode: Mode) -> Call:
        """A training step; KeyError for a network that torch_models.py cannot build."""
        from .torch_models import build

        torch = self.torch
        with nn.utils.skip_init():
            description = describe(minidl.models.create(network.model, num_classes=network.classes))
        model = build(description).to(self.device).train()
        images, labels = (torch.from_numpy(a).to(self.device) for a in operands(network, network.batch))
        if mode.layout != "NCHW":
            model, images = (t.to(memory_format=torch.channels_last) for t in (model, images))
        optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, fused=True)
        low = mode.precision in ("float16", "bfloat16")
        scaler = torch.amp.GradScaler(self.device, enabled=mode.precision == "float16" and self.device == "cuda")

        def step() -> None:
            optimizer.zero_grad()
            with torch.autocast(self.device, self.dtype(mode) if low else torch.bfloat16, enabled=low):
                loss = torch.nn.functional.cross_entropy(model(images), labels)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()

        return step

    def fused_calls(self) -> dict[str, Callable[[tuple[int, ...]], Call]]:
        """The twins of ``fused_calls`` below, by name."""
        torch, F = self.torch, self.torch.nn.functional
        mode = Mode("channels-last", "float32", "channels-last")

        def leaf(shape: Sequence[int]) -> Any:
            return self.tensor(shape, mode).requires_grad_()

        def norm(shape: tuple[int, ...], backward: bool, residual: bool) -> Call:
            layer = torch.nn.BatchNorm2d(shape[1]).to(self.device)
            x, r, g = leaf(shape), leaf(shape), self.tensor(shape, mode)

            def forward() -> Any:
                return F.relu(layer(x) + r) if residual else F.relu(layer(x))

            if not backward:
                return _without_graph(torch, forward)
            wanted = [x, r, *layer.parameters()] if residual else [x, *layer.parameters()]
            return lambda: torch.autograd.grad(forward(), wanted, g)

        def loss(shape: tuple[int, ...]) -> Call:
            x, t = leaf(shape), torch.randint(shape[1], shape[:1], device=self.device)
            return lambda: torch.autograd.grad(F.cross_entropy(x, t), [x])

        def pool(shape: tuple[int, ...]) -> Call:
            x = leaf(shape)
            y = F.max_pool2d(x, 3, 2, 1)
            g = torch.randn_like(y)
            return lambda: torch.autograd.grad(F.max_pool2d(x, 3, 2, 1), [x], g)

        def unpool(shape: tuple[int, ...]) -> Call:
            values, indices = F.max_pool2d(leaf(shape).detach(), 2, return_indices=True)
            x, g = values.requires_grad_(), self.tensor(shape, mode)
            return lambda: torch.autograd.grad(F.max_unpool2d(x, indices, 2, output_size=shape), [x], g)

        def both_ways(function: Callable[[Any], Any], shape: tuple[int, ...]) -> Call:
            x = leaf(shape)
            g = torch.randn_like(function(x))
            return lambda: torch.autograd.grad(function(x), [x], g)

        def update(shape: tuple[int, ...], kind: str, **options: Any) -> Call:
            params = [torch.nn.Parameter(torch.randn(shape, device=self.device)) for _ in range(UPDATED)]
            for p in params:
                p.grad = torch.randn_like(p)
            return getattr(torch.optim, kind)(params, lr=1e-3, **options).step

        return {
            "batch norm + ReLU": lambda s: norm(s, False, False),
            "batch norm + ReLU, both ways": lambda s: norm(s, True, False),
            "batch norm + add + ReLU, both ways": lambda s: norm(s, True, True),
            "max pooling, both ways": pool,
            "cross-entropy, both ways": loss,
            "max unpooling, both ways": unpool,
            "adaptive pooling, both ways": partial(both_ways, lambda x: F.adaptive_avg_pool2d(x, WINDOWS)),
            "bilinear resize, both ways": partial(
                both_ways, lambda x: F.interpolate(x, scale_factor=2, mode="bilinear")
            ),
            "SGD": lambda s: update(s, "SGD", momentum=0.9, fused=True),
            "DampenedSGD": lambda s: update(s, "SGD", momentum=0.9, dampening=0.9, fused=True),
            "Adadelta": lambda s: update(s, "Adadelta", foreach=True),  # it has no fused one
            "AdamW": lambda s: update(s, "AdamW", fused=True),
        }


def _without_graph(torch: Any, call: Call) -> Call:
    def run() -> Any:
        with torch.no_grad():
            return call()

    return run


# ---- what stands around the convolutions: ours ----

UPDATED = 100  # parameters that an update has
WINDOWS = 24  # along each axis, for adaptive pooling: they share 56 positions unevenly


def fused_calls(card: Card) -> dict[str, tuple[Callable[[tuple[int, ...]], Call], float]]:
    """What to measure by name: how a call is made for a shape, and how often its elements are moved at least."""
    F = nn.functional

    def leaf(shape: Sequence[int]) -> Any:
        return minidl.from_numpy(card.normal(shape, "float32", "channels-last")).requires_grad_()

    def norm(shape: tuple[int, ...], backward: bool, residual: bool) -> Call:
        layer = nn.BatchNorm2d(shape[1]).cuda()
        x, r, g = leaf(shape), leaf(shape) if residual else None, leaf(shape).detach()

        def forward() -> Any:
            return layer.then_relu(x, r)

        if not backward:
            return minidl.no_grad()(forward)
        wanted = [x, *layer.parameters()] if r is None else [x, r, *layer.parameters()]
        return lambda: minidl.autograd.grad(forward(), wanted, g)

    def loss(shape: tuple[int, ...]) -> Call:
        x, t = leaf(shape), minidl.from_numpy(card.cp.arange(shape[0]) % shape[1])
        return lambda: minidl.autograd.grad(F.cross_entropy(x, t), [x])

    def pool(shape: tuple[int, ...]) -> Call:
        x = leaf(shape)
        g = minidl.from_numpy(card.normal(F.max_pool2d(x, 3, 2, 1).shape, "float32", "channels-last"))
        return lambda: minidl.autograd.grad(F.max_pool2d(x, 3, 2, 1), [x], g)

    def unpool(shape: tuple[int, ...]) -> Call:
        values, indices = F.max_pool2d(leaf(shape).detach(), 2, return_indices=True)
        x, g = values.requires_grad_(), leaf(shape).detach()
        return lambda: minidl.autograd.grad(F.max_unpool2d(x, indices, 2, output_size=shape), [x], g)

    def both_ways(function: Callable[[Any], Any], shape: tuple[int, ...]) -> Call:
        x = leaf(shape)
        g = minidl.from_numpy(card.normal(function(x).shape, "float32", "channels-last"))
        return lambda: minidl.autograd.grad(function(x), [x], g)

    def update(shape: tuple[int, ...], kind: str) -> Call:
        params = [leaf(shape) for _ in range(UPDATED)]
        for p in params:
            p.grad = leaf(shape).detach()
        options = {"momentum": 0.9} if kind == "SGD" else {}
        return getattr(optim, kind)(params, lr=1e-3, **options).step

    return {
        "batch norm + ReLU": (lambda s: norm(s, False, False), 3),  # x twice, y
        "batch norm + ReLU, both ways": (lambda s: norm(s, True, False), 8),  # and g twice, x twice, dx
        "batch norm + add + ReLU, both ways": (lambda s: norm(s, True, True), 11),
        "max pooling, both ways": (pool, 2 + (4 + 4) / 2 / 4),  # values and indices of 4 bytes, both ways
        "max unpooling, both ways": (unpool, 1 + (3 * 4 + 2 * 8) / 4 / 4),  # three times 1/4 of values, indices twice
        "adaptive pooling, both ways": (
            partial(both_ways, lambda x: F.adaptive_avg_pool2d(x, WINDOWS)),
            2 + 2 * (WINDOWS / 56) ** 2,
        ),
        "bilinear resize, both ways": (
            partial(both_ways, lambda x: F.interpolate(x, scale_factor=2, mode="bilinear")),
            2 + 2 * 4,
        ),
        "cross-entropy, both ways": (loss, 3),
        "SGD": (lambda s: update(s, "SGD"), 5 * UPDATED),
        "DampenedSGD": (lambda s: update(s, "DampenedSGD"), 5 * UPDATED),
        "Adadelta": (lambda s: update(s, "Adadelta"), 7 * UPDATED),
        "AdamW": (lambda s: update(s, "AdamW"), 7 * UPDATED),
    }


FUSED_SHAPES = {
    "batch norm + ReLU": (64, 256, 56, 56), "batch norm + ReLU, both ways": (64, 256, 56, 56),
    "batch norm + add + ReLU, both ways": (64, 256, 56, 56), "max pooling, both ways": (64, 64, 112, 112),
    "max unpooling, both ways": (64, 64, 112, 112), "adaptive pooling, both ways": (64, 256, 56, 56),
    "bilinear resize, both ways": (64, 64, 56, 56),
    "cross-entropy, both ways": (4096, 1000), "SGD": (512, 512), "AdamW": (512, 512),
    "DampenedSGD": (512, 512), "Adadelta": (512, 512),
}  # fmt: skip


def larger(layer: Layer, batch: int) -> Layer:
    """The layer with a batch that fills a card: those of shapes.py are made for two cores."""
    return dataclasses.replace(layer, batch=max(layer.batch, batch))


def relative(a: Any, exact: np.ndarray) -> float:
    """||a - exact|| / ||exact|| of an array of the device."""
    difference = a.get().astype(np.float64) - exact
    return float(np.sqrt(np.square(difference).sum() / max(np.square(exact).sum(), np.finfo(np.float64).tiny)))
