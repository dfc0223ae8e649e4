"""What must be true of kernels that make one pass over memory, against their definitions; run by tests and mutants."""

from __future__ import annotations

import numpy as np

import minidl
from minidl import optim
from minidl.kernels import activation, norm
from minidl.kernels.spec import norm as spec
from minidl.ops import normalization
from minidl.optim import Optimizer

MORE_THAN_A_PIECE = 70_001
EPS = 0.3


def straight_pieces(dtype: str) -> None:
    """ReLU, leaky ReLU, clip and sums, forward and backward, over several pieces, kinks and NaN among the elements."""
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((2, MORE_THAN_A_PIECE)).astype(dtype)
    x[::5], x[1::7], x[2::11], x[3] = 0, -0.5, 0.75, np.nan
    for name, arrays, rest in (
        ("relu", (x,), ()),
        ("relu_grad", (g, x), ()),
        ("leaky_relu", (x,), (0.25,)),
        ("leaky_relu_grad", (g, x), (0.25,)),
        ("clip", (x,), (-0.5, 0.75)),
        ("clip_grad", (g, x), (-0.5, 0.75)),
        ("add", (x, g), ()),
    ):
        got, want = (getattr(activation, name)(*arrays, *rest, algorithm=a) for a in ("numba", "spec"))
        np.testing.assert_array_equal(got, want, err_msg=name)
    total = g.copy()
    activation.accumulate(total, x, algorithm="numba")
    np.testing.assert_array_equal(total, g + x)


def accumulated_parts(dtype: str) -> None:
    """``a += b`` where a is some of the channels of a channels-last array, b stored in any way: nothing else moves."""
    rng = np.random.default_rng(5)
    for shape, first, stop in (((3, 9, 40, 31), 2, 7), ((2, 5, 3), 0, 4), ((1, 70, 600), 1, 70), ((4, 6, 1, 5), 3, 4)):
        whole = np.moveaxis(rng.standard_normal((shape[0], *shape[2:], shape[1])).astype(dtype), -1, 1)
        b = rng.standard_normal((shape[0], stop - first, *shape[2:])).astype(dtype)
        last = np.moveaxis(np.ascontiguousarray(np.moveaxis(b, 1, -1)), -1, 1)
        part = np.moveaxis(np.repeat(np.moveaxis(b, 1, -1), 2, axis=-1), -1, 1)[:, : stop - first]
        other = np.array(whole, order="K")[:, first:stop]
        for addend in (b, last, np.array(part), other, b[..., ::-1]):
            got, want = np.array(whole, order="K"), np.array(whole, order="K")
            activation.accumulate(got[:, first:stop], addend, algorithm="numba")
            want[:, first:stop] += addend
            np.testing.assert_array_equal(got, want, err_msg=str(shape))
        uneven = np.array(whole, order="K")
        activation.accumulate(uneven[..., 1:], whole[..., :-1], algorithm="numba")
        np.testing.assert_array_equal(uneven[..., 1:], whole[..., 1:] + whole[..., :-1])


def running_scale(dtype: str) -> None:
    """Scale and shift by known statistics: the bits of the definition, which normalises with them."""
    rng = np.random.default_rng(7)
    for channels in (0, 1, 5, 70):
        mean, weight, bias, x = rng.standard_normal((4, channels)).astype(dtype)
        variance = rng.uniform(0.01, 2, channels).astype(dtype)
        every_other = np.repeat(variance, 2)[::2]
        for w, b in ((weight, bias), (2 * weight, bias), (weight, None), (None, bias), (None, None)):
            for spread in (variance, every_other):
                found = norm.running_scale(mean, spread, w, b, EPS)
                for got, want in zip(found, spec.running_scale(mean, variance, w, b, EPS), strict=True):
                    assert got.dtype == dtype and got.shape == (channels,)
                    np.testing.assert_array_equal(got, want)
            normal = (x.astype("f8") - mean) / np.sqrt(variance.astype("f8") + EPS)
            want = (1 if w is None else w) * normal + (0 if b is None else b)
            np.testing.assert_allclose(found[0] * x + found[1], want, rtol=1e-4, atol=1e-4)


def batch_norm(dtype: str) -> None:
    """Forward and gradients in both storages, over blocks of unequal size."""
    rng = np.random.default_rng(1)
    tolerance = {"float32": 1e-4, "float64": 1e-11}[dtype]
    for shape in ((2, 3, 190, 191), (70, 70, 5), (7, 130)):
        x, g = rng.standard_normal((2, *shape)).astype(dtype)
        x *= np.linspace(1, 3, x.size, dtype=dtype).reshape(shape)  # blocks differ in their statistics
        x += np.linspace(0, 2, x.size, dtype=dtype).reshape(shape)
        w, b = rng.standard_normal((2, shape[1])).astype(dtype)
        for last in (False, True):
            stored = [np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1) if last else a for a in (x, g)]
            got, want = (norm.batch_norm(stored[0], w, b, EPS, algorithm=a) for a in ("numba", "spec"))
            slopes = [
                norm.batch_norm_grad(stored[1], stored[0], w, *want[1:], EPS, algorithm=a) for a in ("numba", "spec")
            ]
            for a, c in zip((*got, *slopes[0]), (*want, *slopes[1]), strict=True):
                np.testing.assert_allclose(a, c, rtol=tolerance, atol=tolerance * np.abs(c).max())


def channel_passes(dtype: str) -> None:
    """A number added to each channel, and the sums of the channels, over several blocks, of few channels and of many;
    what lies otherwise, or with gaps, comes out the same."""
    rng = np.random.default_rng(6)
    tolerance = {"float32": 1e-6, "float64": 1e-14}[dtype]
    for shape in ((3, 5, 4, 7), (2, 130, 3), (2, 3, 1, 2, 5), (6, 1, 5, 5), (5, 6, 60, 61), (3, 300, 7, 9)):
        a, b = rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape[1]).astype(dtype)
        last = np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)
        want = a + b.reshape(-1, *(1,) * (a.ndim - 2))
        exact = a.sum(axis=(0, *range(2, a.ndim)), dtype="float64")
        scale = np.abs(a).sum() / shape[1]
        for x in (a, last, np.repeat(last, 2, axis=-1)[..., ::2]):
            sums = norm.module("norm", "numba", x).channel_sums(x)
            assert sums.dtype == dtype and np.abs(sums - exact).max() <= tolerance * scale
            got = np.array(x, order="K") if x.flags.owndata else x
            norm.module("norm", "numba", got).add_to_channels(got, b)
            np.testing.assert_array_equal(got, want)


def tanh(dtype: str) -> None:
    """Within some units in the last place, on both sides, up to where it is 1 and beyond; NaN stays."""
    rng = np.random.default_rng(7)
    x = np.concatenate([
        rng.uniform(-10, 10, MORE_THAN_A_PIECE), np.exp(rng.uniform(-30, 2.4, MORE_THAN_A_PIECE)),
        np.linspace(9, 100, 999), np.linspace(-100, -9, 999), [0.0, -0.0, np.inf, -np.inf, 1e30, 1e-40],
    ]).astype(dtype)  # fmt: skip
    y, exact = activation.tanh(x, algorithm="numba"), np.tanh(x.astype("float64"))
    ulps = np.abs(y - exact) / np.spacing(np.abs(exact).astype(dtype))
    assert y.dtype == dtype and ulps.max() <= 6 and np.abs(y).max() == 1
    np.testing.assert_array_equal(np.signbit(y), np.signbit(x))
    assert np.isnan(activation.tanh(np.array([1, np.nan, 2], dtype), algorithm="numba"))[1]
    g = rng.standard_normal(x.shape).astype(dtype)
    got, want = (activation.tanh_grad(g, y, algorithm=a) for a in ("numba", "spec"))
    np.testing.assert_array_equal(got, want)


def batch_norm_relu(dtype: str, shapes: tuple[tuple[int, ...], ...] = ((70, 70, 5), (3, 40, 60, 9), (7, 130))) -> None:
    """Batch norm with what follows it has the bits of the single steps, with a ceiling and without, over several
    blocks, with elements exactly on the kinks."""
    rng = np.random.default_rng(4)
    for shape in shapes:
        x, g, r = (
            np.moveaxis(rng.standard_normal((shape[0], *shape[2:], shape[1])).astype(dtype), -1, 1) for _ in "xgr"
        )
        w, b = rng.standard_normal((2, shape[1])).astype(dtype)
        w[0] = b[0] = r[:, 0] = 0  # all of this channel lies on the kink
        w[1] = r[:, 1] = 0
        b[1] = 0.75
        single = [norm.batch_norm(x, weight, bias, EPS) for weight, bias in ((w, b), (None, None))]
        for (weight, bias), (y, mean, variance) in zip(((w, b), (None, None)), single, strict=True):
            for ceiling, added in ((np.inf, None), (0.75, None), (np.inf, r), (0.75, r)):
                name = f"{shape}, ceiling {ceiling}, {'nothing' if added is None else 'something'} added"
                before = y if added is None else activation.add(y, added)
                after = activation.relu(before) if ceiling == np.inf else activation.clip(before, 0.0, ceiling)
                kept = (
                    activation.relu_grad(g, after)
                    if ceiling == np.inf
                    else activation.clip_grad(g, after, 0.0, ceiling)
                )
                slopes = *norm.batch_norm_grad(kept, x, weight, mean, variance, EPS), kept
                got = norm.batch_norm_relu(x, weight, bias, EPS, added, ceiling, algorithm="numba")
                back = norm.batch_norm_relu_grad(
                    g,
                    x,
                    weight,
                    bias,
                    mean,
                    variance,
                    EPS,
                    None if added is None else after,
                    ceiling,
                    algorithm="numba",
                )
                assert len(back) == 3 + (added is not None)
                for a, c in zip((*got, *back), (after, mean, variance, *slopes[: len(back)]), strict=True):
                    np.testing.assert_array_equal(a, c, err_msg=name)
        scaled = activation.relu(activation.add(norm.scale_shift(x, w, b), r))
        np.testing.assert_array_equal(norm.scale_shift_relu(x, w, b, r, algorithm="numba"), scaled)


def parts_of_cotangents(dtype: str) -> None:
    """A cotangent that is some of the channels of an array, as where results were joined: read where it lies."""
    rng = np.random.default_rng(8)
    for channels, shape in ((32, (3, 20, 30)), (48, (2, 5, 7)), (20, (2, 9, 11)), (16, (40,))):
        x, g = (np.moveaxis(rng.standard_normal((2, *shape, channels + 9)).astype(dtype), -1, 1) for _ in "xg")
        x, part = np.moveaxis(np.ascontiguousarray(np.moveaxis(x[:, 9:], 1, -1)), -1, 1), g[:, 5 : channels + 5]
        w, b = rng.standard_normal((2, channels)).astype(dtype)
        y, mean, variance = norm.batch_norm_relu(x, w, b, EPS, algorithm="numba")
        for seen in (None, y):
            for _ in range(2):
                got = norm.batch_norm_relu_grad(part, x, w, b, mean, variance, EPS, seen, algorithm="numba")
                whole = np.array(np.moveaxis(part, 1, -1), order="C")
                want = norm.batch_norm_relu_grad(
                    np.moveaxis(whole, -1, 1), x, w, b, mean, variance, EPS, seen, algorithm="numba"
                )
                for a, c in zip(got, want, strict=True):
                    np.testing.assert_array_equal(a, c)


def slices(channels: int, part: slice, dtype: str) -> None:
    """Some of the channels of a channels-last array, and some of its positions: the same bits, stored in the same way,
    as from a copy of them; and as from the steps where somebody watches batch norm and ReLU."""
    rng = np.random.default_rng(11)
    whole, g = (np.moveaxis(rng.standard_normal((3, 7, 6, channels)).astype(dtype), -1, 1) for _ in "xg")
    for at in ((slice(None), part), (slice(None), slice(None), slice(1, 5)), (slice(1, 3), part, slice(0, 6, 2))):
        x, cotangent = whole[at], g[at]
        w, b = rng.standard_normal((2, x.shape[1])).astype(dtype)
        copy = np.moveaxis(np.array(np.moveaxis(x, 1, -1), order="C"), -1, 1)
        passes = {
            "norm": lambda a, w=w, b=b: norm.batch_norm(a, w, b, EPS, algorithm="numba"),
            "grad": lambda a, g=cotangent, w=w, b=b: norm.batch_norm_grad(g, a, w, b, b * b, EPS, algorithm="numba"),
            "scale": lambda a, w=w, b=b: (norm.scale_shift(a, w, b, algorithm="numba"),),
            "scale grad": lambda a, g=cotangent, w=w: norm.scale_shift_grad(g, a, w, algorithm="numba"),
        }
        for name, run in passes.items():
            for got, want in zip(run(x), run(copy), strict=True):
                np.testing.assert_array_equal(got, want, name)
                assert got.strides == want.strides, name

        def gradients(at=at, w=w, b=b, g=cotangent) -> list[np.ndarray]:
            leaves = [minidl.from_numpy(a).requires_grad_() for a in (whole, w, b)]
            y = normalization.batch_norm_relu(leaves[0][at], None, np.inf, None, None, *leaves[1:], True, 0.1, EPS)
            y.backward(minidl.from_numpy(g))
            return [y.detach().numpy(), *(t.grad.numpy() for t in leaves)]

        alone = gradients()
        with minidl.autograd.Tape():
            watched = gradients()
        for a, c in zip(alone, watched, strict=True):
            np.testing.assert_array_equal(a, c)


def added_gradients(dtype: str) -> None:
    """dx of batch norm and ReLU added to an array that is all or some of the channels of one, stored in any way: what
    is added is what is returned otherwise, in its own channels and nowhere else."""
    rng = np.random.default_rng(9)
    for channels, shape in ((32, (3, 20, 30)), (48, (2, 5, 7)), (20, (2, 9, 11))):
        x, g, r = (np.moveaxis(rng.standard_normal((*shape, channels)).astype(dtype), -1, 1) for _ in "xgr")
        w, b = rng.standard_normal((2, channels)).astype(dtype)
        y, mean, variance = norm.batch_norm_relu(x, w, b, EPS, r, algorithm="numba")
        wide = np.moveaxis(rng.standard_normal((*shape, channels + 9)).astype(dtype), -1, 1)
        for seen in (None, y):
            rest = (g, x, w, b, mean, variance, EPS, seen, np.inf)
            dx, *others = norm.batch_norm_relu_grad(*rest, algorithm="numba")
            for whole, first in ((wide, 5), (x, 0), (np.ascontiguousarray(wide), 5), (wide.astype("float16"), 5)):
                for _ in range(2):
                    got, want = np.array(whole, order="K"), np.array(whole, order="K")
                    part = got[:, first : first + channels]
                    want[:, first : first + channels] += dx
                    same, *found = norm.batch_norm_relu_grad(*rest, part, algorithm="numba")
                    assert same is part
                    np.testing.assert_array_equal(got, want)
                    for a, c in zip(found, others, strict=True):
                        np.testing.assert_array_equal(a, c)


def shares_added_where_they_are_computed() -> None:
    """A tensor that is read by several: its gradient is the same, to the last bit, when somebody watches and each share
    is computed by itself; and a share that somebody keeps stays as it is."""
    rng = np.random.default_rng(10)
    x0, (w0, b0) = rng.standard_normal((4, 6, 5, 32)).astype("f4"), rng.standard_normal((2, 32)).astype("f4")

    def gradients() -> list[np.ndarray]:
        last_stored = np.moveaxis(x0, -1, 1)
        x, z, w, b = (minidl.tensor(a).requires_grad_() for a in (last_stored, last_stored, w0, b0))

        def norm_of(v: minidl.Tensor) -> minidl.Tensor:
            scale, shift = (minidl.cat([p] * (v.shape[1] // 32)) for p in (w, b))
            return normalization.batch_norm_relu(v, None, np.inf, None, None, scale, shift, True, 0.1, EPS)

        h = x * 2.0
        joined = minidl.cat([h, norm_of(h), h * 3.0], 1)
        last = norm_of(minidl.cat([joined, joined * 0.5], 1))
        seen: list[tuple[minidl.Tensor, np.ndarray]] = []
        for v in (h, joined):
            v.register_hook(lambda g: seen.append((g, g.numpy().copy())))
        first = norm_of(h)
        both = (h + z) * first  # z and h get one array
        (both.sum() + (last * joined[:, :1]).sum()).backward()
        for g, value in seen:
            np.testing.assert_array_equal(g.numpy(), value)
        return [t.grad.numpy() for t in (x, w, b, z)]

    alone = gradients()
    with minidl.autograd.Tape():
        watched = gradients()
    for a, c in zip(alone, watched, strict=True):
        np.testing.assert_array_equal(a, c)


def large_mean() -> None:
    """Mean 10,000 and deviation 1: of the squares of float32 values nothing of the deviation is left."""
    rng = np.random.default_rng(2)
    x = (1e4 + rng.standard_normal((16, 40, 40, 8))).astype("float32").transpose(0, 3, 1, 2)
    exact = x.astype("float64")
    for a in (x, np.ascontiguousarray(x)):
        _, mean, variance = norm.batch_norm(a)
        np.testing.assert_allclose(mean, exact.mean(axis=(0, 2, 3)), rtol=1e-7)
        np.testing.assert_allclose(variance, exact.var(axis=(0, 2, 3)), rtol=1e-5)


UPDATES: tuple[tuple[type[Optimizer], dict], ...] = (
    (optim.SGD, {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.02}),
    (optim.Adagrad, {"lr_decay": 0.1, "weight_decay": 0.05}),
    (optim.RMSprop, {"centered": True, "momentum": 0.7}),
    (optim.Adadelta, {"rho": 0.8, "weight_decay": 0.05, "maximize": True}),
    (optim.DampenedSGD, {"beta": 0.8, "weight_decay": 0.05, "bias_correction": True}),
    (optim.Adam, {"weight_decay": 0.1, "amsgrad": True, "betas": (0.7, 0.95), "eps": 1e-3}),
    (optim.AdamW, {"weight_decay": 0.2}),
)


def updates() -> None:
    """Compiled updates have the bits of the update functions, over several pieces of one parameter."""
    for kind, options in UPDATES:
        defined = type(kind.__name__, (kind,), {"update": lambda self, *args, kind=kind: kind.update(self, *args)})
        results = []
        for cls in (kind, defined):
            rng = np.random.default_rng(3)
            params = [minidl.tensor(rng.standard_normal(n).astype("float32"), requires_grad=True) for n in (5, 40_000)]
            optimiser = cls(params, lr=0.05, **options)
            for step in range(6):
                for p in params:
                    p.grad = minidl.tensor((rng.standard_normal(p.shape) * 10.0**-step).astype("float32"))
                if step == 2:
                    params[0].data = params[0].detach().clone()
                if step == 4:
                    state = optimiser.state.get(params[1], {})
                    optimiser.state[params[1]] = {k: 7 if k == "step" else value for k, value in state.items()}
                optimiser.step()
            results.append([p.numpy() for p in params])
        for got, want in zip(*results, strict=True):
            np.testing.assert_array_equal(got, want, err_msg=kind.__name__)


def owned_gradients() -> None:
    """Gradients that share an array or memory: what one leaf does with its own must not show in another's."""
    seed = minidl.tensor([1.0, 2.0])
    a, b = (minidl.tensor([5.0, 7.0], requires_grad=True) for _ in range(2))
    (a * 3 + b * 3).backward(seed)
    (a + b).backward(seed)
    (a + b.reshape(2, 1).reshape(2)).backward(seed)
    for leaf in (a, b):
        np.testing.assert_array_equal(leaf.grad.numpy(), [5.0, 10.0])
    np.testing.assert_array_equal(seed.numpy(), [1.0, 2.0])

    a, b, c = (minidl.tensor([[5.0, 7.0]], requires_grad=True) for _ in range(3))
    seen: list = []
    middle = a * 2
    middle.register_hook(seen.append)
    seed = minidl.tensor([[1.0, 2.0]])
    (middle + b + c.reshape(2).reshape(1, 2) + middle).backward(seed)
    b.grad.zero_()
    np.testing.assert_array_equal(seen[0].numpy(), [[2.0, 4.0]])
    np.testing.assert_array_equal(a.grad.numpy(), [[4.0, 8.0]])
    np.testing.assert_array_equal(c.grad.numpy(), [[1.0, 2.0]])
    c.grad.zero_()
    np.testing.assert_array_equal(seed.numpy(), [[1.0, 2.0]])

    x, y = (minidl.tensor([[5.0, 7.0]], requires_grad=True) for _ in range(2))
    with minidl.autograd.Tape() as tape:
        both = (x + y) * 2
        (both + both * 3).backward(minidl.tensor([[1.0, 2.0]]))
    kept = [(g, g.numpy().copy()) for _, gs, slopes in tape.backward_calls for g in (*gs, *slopes) if g is not None]
    x.grad.zero_()
    np.testing.assert_array_equal(y.grad.numpy(), [[8.0, 16.0]])
    for g, value in kept:
        np.testing.assert_array_equal(g.numpy(), value)
