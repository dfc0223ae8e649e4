"""A layer's call that is run again in inference: what it must notice, and what it must let go of."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

import minidl
from minidl import nn
from minidl.kernels import memory, threads
from minidl.ops import inference

Tensor = minidl.Tensor


def unit(dtype: str = "float32") -> nn.Sequential:
    """A convolution with batch norm and ReLU, and one with a bias."""
    minidl.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(6, 9, 3, padding=1, bias=False), nn.BatchNorm2d(9), nn.ReLU(), nn.Conv2d(9, 4, 1)
    ).to(dtype)  # fmt: skip
    nn.init.uniform_(net[1].weight, 0.5, 2.0)
    nn.init.uniform_(net[1].running_mean, -1.0, 1.0)
    nn.init.uniform_(net[1].running_var, 0.5, 2.0)
    return net.eval()


def programs(owner: Tensor) -> int:
    """How many calls are remembered of the layer with this weight."""
    found = inference._known.get(id(owner))
    return 0 if found is None else sum(program is not None for program in found.programs.values())


def known_layers() -> int:
    gc.collect()
    return len(inference._known)


def answer(net: Callable[..., Tensor], *inputs: Tensor) -> np.ndarray:
    with minidl.no_grad():
        return net(*inputs)._array.copy()


def fresh(net: Callable[..., Tensor], *inputs: Tensor) -> np.ndarray:
    """The answer with nothing remembered."""
    memory.release()
    return answer(net, *inputs)


def agrees(net: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Four calls, of which the last ones may be run again, have the bits of one with nothing remembered."""
    got = [answer(net, *inputs) for _ in range(4)]
    want = fresh(net, *inputs)
    for y in got:
        np.testing.assert_array_equal(y, want)
    for _ in range(3):
        answer(net, *inputs)


def two_inputs(shape: tuple[int, ...] = (2, 6, 8, 7), dtype: str = "float32") -> tuple[Tensor, Tensor]:
    minidl.manual_seed(1)
    return minidl.randn(*shape).to(dtype), minidl.randn(*shape).to(dtype)


def the_second_call_is_remembered() -> None:
    """And computes of another input what the layer does."""
    net, (x, other) = unit(), two_inputs()
    weight = net[0].weight
    counts = []
    for _ in range(3):
        answer(net, x)
        counts.append(programs(weight))
    assert counts == [0, 1, 1], counts
    again = answer(net, other)
    np.testing.assert_array_equal(again, fresh(net, other))


# ---- what is written to ----


def _step(optimizer: type, **settings: float) -> Callable[[nn.Sequential], object]:
    def step(net: nn.Sequential) -> None:
        for p in net.parameters():
            p.grad = minidl.ones(*p.shape)
        optimizer(net.parameters(), lr=0.1, **settings).step()

    return step


def _pass_in_training(net: nn.Sequential) -> None:
    net.train()(minidl.ones(2, 6, 8, 7) * 3)
    net.eval()


def _average(net: nn.Sequential) -> None:
    average = minidl.optim.swa_utils.AveragedModel(net)
    net[0].weight.data.mul_(3)
    average.update_parameters(net)
    net.load_state_dict(average.module.state_dict())


def _loaded(net: nn.Sequential) -> None:
    net.load_state_dict({name: v * 2 for name, v in net.state_dict().items()})


def _vector(net: nn.Sequential) -> None:
    vector = nn.utils.parameters_to_vector(net.parameters()).detach()
    nn.utils.vector_to_parameters(vector * 2, net.parameters())


WRITES: dict[str, Callable[[nn.Sequential], object]] = {
    "copy_": lambda net: net[0].weight.copy_(net[0].weight * 2),
    "a view": lambda net: net[0].weight[0].zero_(),
    "a view of a view": lambda net: net[0].weight.transpose(0, 1)[1][2:].mul_(3),
    "one element": lambda net: net[0].weight.__setitem__((0, 1, 2, 0), 5.0),
    "data": lambda net: net[0].weight.data.add_(1),
    "other data": lambda net: setattr(net[0].weight, "data", net[0].weight.data * 2),
    "detached": lambda net: net[0].weight.detach().clamp_(0, 0.1),
    "an array": lambda net: net[0].weight.detach().numpy().fill(2),
    "an array of the mean": lambda net: np.asarray(net[1].running_mean).fill(2),
    "DLPack": lambda net: np.from_dlpack(net[0].weight.detach()).fill(2),
    "drawn": lambda net: nn.init.kaiming_normal_(net[0].weight),
    "drawn anew": lambda net: net[3].reset_parameters(),
    "the scale": lambda net: nn.init.constant_(net[1].weight, 3),
    "the shift": lambda net: net[1].bias.fill_(1),
    "the mean": lambda net: net[1].running_mean.mul_(2),
    "the variance": lambda net: net[1].running_var.mul_(2),
    "the statistics": lambda net: net[1].reset_running_stats(),
    "a bias": lambda net: net[3].bias.masked_fill_(net[3].bias > 0, 7.0),
    "loaded": _loaded,
    "the state": lambda net: [v.mul_(2) for v in net.state_dict().values()],
    "a vector": _vector,
    "SGD": _step(minidl.optim.SGD, momentum=0.9),
    "Adam": _step(minidl.optim.Adam),
    "an average": _average,
    "training": _pass_in_training,
    "eps": lambda net: setattr(net[1], "eps", 0.5),
    "another weight": lambda net: setattr(net[0], "weight", nn.Parameter(net[0].weight.data * 2)),
    "another mean": lambda net: setattr(net[1], "running_mean", net[1].running_mean + 1),
    "the stride": lambda net: setattr(net[0], "stride", (2, 1)),
    "the padding": lambda net: setattr(net[0], "padding", (0, 1)),
    "the dilation": lambda net: setattr(net[0], "dilation", (2, 1)),
    "the sum of another kernel": lambda net: setattr(net[0], "algorithm", "fft"),
    "double": lambda net: net[1].bias.copy_(net.double().float()[1].bias + 1),
}


def write_is_seen(name: str) -> None:
    net, (x, _) = unit(), two_inputs()
    agrees(net, x)
    assert programs(net[0].weight) == programs(net[3].weight) == 1
    before = answer(net, x)
    with minidl.enable_grad() if name == "training" else minidl.no_grad():
        WRITES[name](net)
    after = answer(net, x)
    assert after.shape != before.shape or np.abs(after - before).max() > 0
    np.testing.assert_array_equal(after, fresh(net, x))
    agrees(net, x)


def writes_are_seen() -> None:
    for name in WRITES:
        write_is_seen(name)


def arrays_that_others_hold_are_not_remembered() -> None:
    """Their owner may write at any time, and no version says so."""
    held = np.random.default_rng(0).standard_normal((9, 6, 3, 3)).astype("float32")
    net, (x, _) = unit(), two_inputs()
    net[0].weight = nn.Parameter(minidl.from_numpy(held))
    for _ in range(3):
        answer(net, x)
        held *= -1.5
        got = answer(net, x)
        np.testing.assert_array_equal(got, fresh(net, x))
    net = unit()
    view = net[1].running_var.numpy()  # taken before anything is remembered
    for _ in range(3):
        answer(net, x)
        view *= 2
        got = answer(net, x)
        np.testing.assert_array_equal(got, fresh(net, x))


def a_new_array_in_the_place_of_one_that_went() -> None:
    """It gets the number of the old one, and its storage has the same version."""
    net, (x, _) = unit(), two_inputs()
    for owner in (net[0].weight, net[1].running_var):
        owner.data = owner.data.clone()  # version 0, as that of those to come
        for n in range(1, 5):
            agrees(net, x)
            value, number = np.full(owner.shape, n, np.float32), id(owner._array)
            owner.data = minidl.zeros(1)  # the old one goes, if nobody else holds it
            new = [minidl.tensor(value) for _ in range(50)]
            owner.data = next((t for t in new if id(t._array) == number), new[0])
            got = answer(net, x)
            np.testing.assert_array_equal(got, fresh(net, x))


def weights_shared_by_two_layers() -> None:
    net, (x, _) = unit(), two_inputs()
    conv, one = net[0], net[1]
    other = nn.BatchNorm2d(9).eval()
    nn.init.uniform_(other.weight, -2.0, 2.0)
    tied = nn.Conv2d(6, 9, 3, stride=2, padding=1).eval()
    tied.weight = conv.weight
    calls = [lambda: one.then_relu(x, behind=conv), lambda: other.then_relu(x, behind=conv), lambda: tied(x)]
    calls.append(lambda: conv(x))
    want = [fresh(call) for call in calls]
    for order in ([0, 0, 1, 1, 0, 1], [2, 2, 3, 3, 2, 0], [0, 0, 0, 2, 1, 3, 3, 3, 1]):
        for i in order:
            np.testing.assert_array_equal(answer(calls[i]), want[i])


# ---- what else a call depends on ----


def last(x: Tensor) -> Tensor:
    """The same values, stored channels-last."""
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


def layouts(dtype: str = "float32", channels: int = 6) -> Iterator[tuple[str, Tensor]]:
    x, other = two_inputs((3, channels, 8, 7), dtype)
    yield "channels first", x
    yield "channels last", last(x)
    yield "another batch", other[:1]
    yield "a slice", x[:, :, 1:, ::2]
    yield "a slice, channels last", last(other)[:, :, :-1, 1:]
    yield "exchanged", x.transpose(2, 3)
    yield "flipped", minidl.as_tensor(x._array[:, :, ::-1])
    yield "flipped, channels last", minidl.as_tensor(last(other)._array[:, ::-1, :, ::-1])
    yield "one image again and again", other[:1].expand(3, channels, 8, 7)
    yield "no images", x[:0]
    yield "square", minidl.randn(1, channels, 8, 8).to(dtype)


def storage_counts() -> None:
    """One layer, inputs that lie in memory in many ways, each met again after the others."""
    for dtype in ("float32", "float64"):
        net = unit(dtype)
        cases = [x for _, x in layouts(dtype)]
        want = [fresh(net, x) for x in cases]
        memory.release()
        for _ in range(3):
            for x, y in zip(cases, want):
                np.testing.assert_array_equal(answer(net, x), y)
        assert programs(net[0].weight) >= 8


def ceilings_count() -> None:
    net, (x, _) = unit(), two_inputs()
    conv, norm = net[0], net[1]
    calls = [(lambda c=c: norm.then_relu(x, None, c, behind=conv)) for c in (np.inf, 0.5, 0.25)]
    calls.append(lambda: norm.along_with(conv, x))  # none
    want = [fresh(call) for call in calls]
    for call, y in [*zip(calls, want)] * 3:
        np.testing.assert_array_equal(answer(call), y)
    assert len({y.tobytes() for y in want}) == 4


def eps_counts() -> None:
    net, (x, _) = unit(), two_inputs()
    want = []
    for eps in (1e-5, 0.5):
        net[1].eps = eps
        want.append(fresh(net, x))
    for _ in range(3):
        for eps, y in zip((1e-5, 0.5), want):
            net[1].eps = eps
            np.testing.assert_array_equal(answer(net, x), y)
    assert np.abs(want[0] - want[1]).max() > 0


def residuals_count() -> None:
    """Of another storage, broadcast, none, the input itself, a view of it."""
    minidl.manual_seed(2)
    conv, norm = nn.Conv2d(6, 6, 3, padding=1, bias=False).eval(), nn.BatchNorm2d(6).eval()
    x, r = two_inputs()
    cases = [
        None,
        r,
        x,
        last(r),
        r.flip(3),
        x.flip(2),
        r[:1],
        minidl.randn(6, 1, 1),
        minidl.randn(2, 6, 16, 7)[:, :, ::2],
    ]
    cases += [minidl.as_tensor(x._array[..., ::-1]), x[:], last(x)]
    want = [fresh(lambda added=added: norm.then_relu(x, added, behind=conv)) for added in cases]
    memory.release()
    for _ in range(3):
        for added, y in zip(cases, want):
            np.testing.assert_array_equal(answer(lambda added=added: norm.then_relu(x, added, behind=conv)), y)


def threads_count() -> None:
    """For a kernel may be told of them, and what it was told is part of a program."""
    before, net, (x, _) = threads.get_num_threads(), unit(), two_inputs()
    try:
        for count in (before, 1, before):
            threads.set_num_threads(count)
            answer(net, x)
            answer(net, x)
        found = inference._known[id(net[0].weight)].programs
        assert len(found) == len({before, 1})
        threads.set_num_threads(1)
        got = answer(net, x)
        np.testing.assert_array_equal(got, fresh(net, x))
    finally:
        threads.set_num_threads(before)


def the_wished_precision_counts() -> None:
    minidl.manual_seed(0)
    conv, x = nn.Conv2d(64, 64, 3, padding=1).eval(), last(minidl.randn(1, 64, 28, 28))

    def exact(x: Tensor) -> Tensor:
        with minidl.conv_precision("exact"):
            return conv(x)

    want = fresh(conv, x), fresh(exact, x)
    assert np.abs(want[0] - want[1]).max() > 0  # Winograd, and not
    for _ in range(3):
        np.testing.assert_array_equal(answer(conv, x), want[0])
        np.testing.assert_array_equal(answer(exact, x), want[1])
    assert programs(conv.weight) == 2


def whoever_tunes_is_asked() -> None:
    """What `autotune` measures may choose another kernel for the same call."""
    from minidl.kernels import catalogue

    def slowest(plan: catalogue.Plan, precision: str) -> catalogue.Plan:
        return catalogue.plan("conv", "forward", plan.problem, dtype=plan.dtype, algorithm="fft")

    conv, (x, _) = nn.Conv2d(6, 4, 3).eval(), two_inputs()
    plain = answer(conv, x)
    agrees(conv, x)
    before = catalogue.tuner
    try:
        catalogue.tuner = slowest
        tuned = answer(conv, x)
        np.testing.assert_array_equal(tuned, fresh(conv, x))
    finally:
        catalogue.tuner = before
    assert np.abs(tuned - plain).max() > 0
    np.testing.assert_array_equal(answer(conv, x), plain)


def parts_of_the_weights_have_panels_of_their_own() -> None:
    """A kernel may rearrange several parts of a layer's weights, all of one shape."""
    from minidl.kernels.constants import Constants, holding, made_of

    given = np.arange(32.0, dtype="float32").reshape(2, 4, 4)
    parts = (*given, given[0].T, given[0, ::-1])
    constants = Constants()
    constants.give(given)
    with holding(constants):
        made = [
            made_of(part, "copy", (4, 4), given.dtype, "example", lambda target, part=part: np.copyto(target, part))
            for part in parts
        ]
        for a, part in zip(made, parts):
            np.testing.assert_array_equal(a, part)
        assert made_of(given[1], "copy", (4, 4), given.dtype, "example", np.copyto) is made[1]
        assert constants.bytes == 4 * 64
        mine = made_of(given.copy(), "copy", (4, 4), given.dtype, "example", lambda target: target.fill(1))
        assert constants.bytes == 4 * 64 and (mine == 1).all()  # not of the constants: borrowed


def a_norm_by_itself_asks_as_much() -> None:
    """Batch norm with a ReLU and no convolution in front: storage, ceilings, eps, residuals, and what is written."""
    minidl.manual_seed(3)
    norm = nn.BatchNorm2d(16).eval()
    for v in (norm.weight, norm.bias, norm.running_mean):
        nn.init.uniform_(v, -1.0, 1.0)
    inputs = [x for _, x in layouts(channels=16)]
    cases = [(x, r, c) for x in inputs for r in (None, last(x * 2), (x * 2).contiguous(), x) for c in (np.inf, 0.25)]
    want = [fresh(norm.then_relu, *case) for case in cases]
    memory.release()
    for _ in range(3):
        for case, y in zip(cases, want):
            np.testing.assert_array_equal(answer(norm.then_relu, *case), y)
    for change in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
        agrees(norm.then_relu, inputs[1])
        before = answer(norm.then_relu, inputs[1])
        assert programs(norm.running_mean) == 1
        change.data.add_(1)
        after = answer(norm.then_relu, inputs[1])
        np.testing.assert_array_equal(after, fresh(norm.then_relu, inputs[1]))
        assert np.abs(after - before).max() > 0
        agrees(norm.then_relu, inputs[1])
        norm.eps += 1.0
        np.testing.assert_array_equal(answer(norm.then_relu, inputs[1]), fresh(norm.then_relu, inputs[1]))


# ---- results, constants and memory ----


def results_are_apart() -> None:
    net, (x, other) = unit(), two_inputs()
    for _ in range(3):
        answer(net, x)
    with minidl.no_grad():
        first = net(x)
        kept = first._array.copy()
        results = [net(v)._array for v in (other, x, other, x)]
        np.testing.assert_array_equal(first._array, kept)
        results[0][...] = 7.0
    np.testing.assert_array_equal(first._array, kept)
    np.testing.assert_array_equal(results[1], kept)
    np.testing.assert_array_equal(results[3], kept)
    assert not any(np.shares_memory(first._array, a) for a in results)
    assert not any(np.shares_memory(a, b) for i, a in enumerate(results) for b in results[:i])


def what_a_program_reads_lives_as_long_as_it() -> None:
    """Memory that somebody else gets afterwards is full of other numbers."""
    net, (x, _) = unit(), two_inputs()
    for _ in range(3):
        want = answer(net, x)
    gc.collect()
    others = [np.full(size, np.nan, np.float32) for size in [*range(2, 40), 54, 81, 200, 486, 540, 900, 2000] * 20]
    np.testing.assert_array_equal(answer(net, x), want)
    del others
    found = inference._known[id(net[0].weight)]
    held = [*found.constants.given, *found.constants._made.values()]
    assert len(held) >= 4 and any(a is net[0].weight._array for a in held)  # w, scale, shift, and what was made of w


def copies_that_end_are_no_places() -> None:
    """An array that NumPy copies, and drops before the next is made, has the address of the next."""
    for shape in ((1, 4, 6, 4, 5), (2, 3, 9, 5, 8), (1, 2, 12, 6, 20)):
        minidl.manual_seed(0)
        conv, x = nn.Conv3d(shape[1], 8, 3, padding=1).eval(), minidl.randn(*shape).transpose(2, 3)
        want = fresh(conv, x)
        for _ in range(4):
            np.testing.assert_array_equal(answer(conv, x), want)
        assert programs(conv.weight) == 0
    for channels, size in ((64, 8), (32, 6), (64, 4), (16, 8)):
        conv = nn.Conv2d(channels, channels, 3, padding=1, algorithm="winograd").eval()
        conv.weight.data = minidl.randn(channels, channels, 3, 3).transpose(0, 1)
        x = minidl.randn(1, channels, size, size)
        want = fresh(conv, x)
        for _ in range(4):
            np.testing.assert_array_equal(answer(conv, x), want)
        assert programs(conv.weight) == 1  # U follows from the weights as they lie


def a_copy_of_rows_is_noted() -> None:
    """Where rows lie so that NumPy copies them first, the loops are not all that was done."""
    from minidl.kernels.cpu import pieces, relayout

    x = np.ones((1, 4, 6, 4, 5), np.float32)
    for rows, copied in ((x, False), (x.transpose(0, 1, 3, 2, 4), True)):
        with pieces.watching() as loops:
            relayout.padded_rows(rows, 1, 7, 8, "x")
        assert (None in loops) == copied and len(loops) == 1 + copied


def gradients_let_go() -> None:
    net, (x, _) = unit(), two_inputs()
    for _ in range(3):
        answer(net, x)
    assert inference.kept_bytes() > 0
    net(x)
    assert programs(net[0].weight) == programs(net[3].weight) == 0 and inference.kept_bytes() == 0
    agrees(net, x)


def release_lets_go() -> None:
    net, (x, _) = unit(), two_inputs()
    for _ in range(3):
        answer(net, x)
    memory.release()
    assert inference.kept_bytes() == 0 and known_layers() == 0


def layers_that_die_take_it_along() -> None:
    memory.release()
    net, (x, _) = unit(), two_inputs()
    for _ in range(3):
        answer(net, x)
    assert known_layers() == 2
    del net
    assert known_layers() == 0
    conv = nn.Conv2d(6, 4, 1).eval()
    answer(conv, x)
    answer(conv, x)
    conv.weight = nn.Parameter(conv.weight.detach().clone())
    assert known_layers() == 0


@contextmanager
def limits(**values: int) -> Iterator[None]:
    before = {name: getattr(inference, name) for name in values}
    try:
        for name, value in values.items():
            setattr(inference, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(inference, name, value)


def no_more_is_kept_than_may_be() -> None:
    memory.release()
    net, (x, _) = nn.Sequential(*[nn.Conv2d(6, 6, 3, padding=1) for _ in range(5)]).eval(), two_inputs()
    want = fresh(net, x)
    answer(net, x)
    one = max(found.constants.bytes for found in inference._known.values())
    assert inference.kept_bytes() == 5 * one > 0
    memory.release()
    with limits(KEPT_BYTES=2 * one):
        for _ in range(6):
            np.testing.assert_array_equal(answer(net, x), want)
            assert inference.kept_bytes() <= 2 * one
    with limits(KEPT_BYTES=1):  # the last layer's is kept, however large it is
        for _ in range(4):
            np.testing.assert_array_equal(answer(net, x), want)
            assert len(inference._known) <= len(net) and inference.kept_bytes() <= one


def sizes_that_never_come_again_pile_up_nothing() -> None:
    conv, most = nn.Conv2d(1, 2, 3).eval(), 0
    norm = nn.BatchNorm2d(2).eval()
    conv.bias = None
    with limits(KEPT_CALLS=4):
        for n in [*range(3, 20)] * 3:
            answer(lambda n=n: norm.then_relu(minidl.ones(1, 1, n, 3), behind=conv))
            found = inference._known.get(id(conv.weight))
            if found is not None:
                most = max(most, len(found.constants.given), len(found.programs))
        assert 4 <= most <= 1 + 2 * 5  # w, and a scale and a shift of each call
        agrees(lambda x: norm.then_relu(x, behind=conv), minidl.randn(1, 1, 5, 5))


CHECKS = (
    the_second_call_is_remembered, arrays_that_others_hold_are_not_remembered,
    a_new_array_in_the_place_of_one_that_went, weights_shared_by_two_layers, storage_counts, ceilings_count,
    eps_counts, residuals_count, threads_count, the_wished_precision_counts, whoever_tunes_is_asked,
    parts_of_the_weights_have_panels_of_their_own, a_norm_by_itself_asks_as_much, results_are_apart,
    what_a_program_reads_lives_as_long_as_it,
    copies_that_end_are_no_places, a_copy_of_rows_is_noted, gradients_let_go, release_lets_go,
    layers_that_die_take_it_along, no_more_is_kept_than_may_be, sizes_that_never_come_again_pile_up_nothing,
)  # fmt: skip
