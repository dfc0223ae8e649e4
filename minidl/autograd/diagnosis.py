"""What is wrong with a wrong gradient: it is compared with what the usual mistakes would have given.

Each hypothesis below computes the gradient that a known mistake leads to; where the wrong gradient equals it, the
mistake has a name.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

_INPUT_LETTERS = {2: "NC", 3: "NCL", 4: "NCHW", 5: "NCDHW"}
_OUTPUT_LETTERS = {2: "NK", 3: "NKQ", 4: "NKPQ", 5: "NKOPQ"}
# wrong by rounding, not by a mistake: the largest relative error that single precision explains
_SINGLE = 1e-4


@dataclass
class Evidence:
    """A wrong gradient beside the right one, and all that explains it.

    ``jacobian`` (m, n): all outputs, flat, by this input, flat.  ``cotangent`` (m,).  ``others``: the right gradients
    of the other inputs, by their position.  ``value`` is this input, ``result`` (m,) the outputs, ``arguments`` the
    other inputs by their position, and ``right_with(i, a)`` the right gradient if input ``i`` were ``a``.
    """

    wrong: np.ndarray
    right: np.ndarray
    jacobian: np.ndarray
    cotangent: np.ndarray
    output_shapes: Sequence[tuple[int, ...]]
    others: dict[int, np.ndarray]
    tolerance: float = 1e-5
    """How near two gradients must come to be called equal, relative to the largest element."""
    value: np.ndarray | None = None
    result: np.ndarray | None = None
    arguments: Mapping[int, np.ndarray] = field(default_factory=dict)
    right_with: Callable[[int, np.ndarray], np.ndarray] | None = None

    def __post_init__(self) -> None:
        self.scale = max(float(np.abs(self.right).max(initial=0.0)), 1e-30)

    def equals(self, guess: np.ndarray) -> bool:
        """Whether the wrong gradient is ``guess``, and ``guess`` is not simply the right one."""
        if guess.shape != self.wrong.shape:
            return False
        scale = max(float(np.abs(guess).max(initial=0.0)), self.scale)
        near = float(np.abs(self.wrong - guess).max(initial=0.0)) <= self.tolerance * scale
        return near and float(np.abs(self.right - guess).max(initial=0.0)) > 10 * self.tolerance * self.scale

    def pulled_back(self, cotangent: np.ndarray) -> np.ndarray:
        """The right gradient for another cotangent."""
        return (self.jacobian.T @ cotangent.reshape(-1)).reshape(self.right.shape)

    @property
    def one_to_one(self) -> bool:
        """Whether every output depends on the input at its own place alone, as in an element-wise operation."""
        m, n = self.jacobian.shape
        return m == n and not self.jacobian[~np.eye(n, dtype=bool)].any()

    def outputs(self, flat: np.ndarray) -> list[np.ndarray]:
        """A flat vector of all outputs, cut into their shapes."""
        ends = list(itertools.accumulate(math.prod(s) for s in self.output_shapes))
        return [flat[e - math.prod(s) : e].reshape(s) for s, e in zip(self.output_shapes, ends)]


def diagnose(evidence: Evidence) -> str:
    """The first mistake that explains the wrong gradient; else where it is wrong."""
    return next(_hypotheses(evidence), None) or _where_wrong(evidence)


def _hypotheses(e: Evidence) -> Iterator[str]:
    if not np.isfinite(e.wrong).all():
        bad = np.argwhere(~np.isfinite(e.wrong))
        yield f"{len(bad)} elements are NaN or infinite, the first at {_index(bad[0])}"
        return
    if not e.wrong.any():
        yield "the gradient is zero: it is not computed, or a detach or no_grad cuts the graph"
        return
    yield from _precision(e)
    yield from _factor(e)
    yield from _reduced(e)
    yield from _cotangent(e)
    yield from _samples(e)
    yield from _turned(e)
    for position, other in e.others.items():
        if e.equals(other):
            yield f"equals the gradient of input {position}: the gradients of two inputs are exchanged"
    yield from _elementwise(e)
    yield from _missing_terms(e)
    yield from _overlap(e)
    yield from _other_argument(e)
    if e.equals(np.where(e.wrong * e.right < 0, -e.right, e.right)):
        yield "right but for the sign of some elements"


def _precision(e: Evidence) -> Iterator[str]:
    error = float(np.abs(e.wrong - e.right).max()) / e.scale
    if error < _SINGLE and e.tolerance < _SINGLE:
        single = np.array_equal(e.wrong, e.wrong.astype(np.float32))
        reason = "all its elements are float32 numbers" if single else "somewhere it passes through float32"
        yield f"right to float32 precision only (relative error {error:.1e}): {reason}"


def _factor(e: Evidence) -> Iterator[str]:
    factor = float((e.wrong * e.right).sum() / (e.right * e.right).sum()) if e.right.any() else 0.0
    if factor == 0.0 or not e.equals(factor * e.right):
        return
    if abs(factor + 1) < 10 * e.tolerance:
        yield "equals the right gradient negated"
        return
    sign = "minus " if factor < 0 else ""
    for name, length, where in _lengths(e):
        if length > 1 and abs(abs(factor) - length) < 10 * e.tolerance * length:
            yield f"off by the factor {sign}{name} = {length} ({where}): summed or counted {length} times"
            return
        if length > 1 and abs(abs(factor) * length - 1) < 10 * e.tolerance:
            yield f"off by the factor {sign}1/{name} = 1/{length} ({where}): divided by {name} once too often"
            return
    yield f"off by the factor {factor:.6g}"


def _lengths(e: Evidence) -> Iterator[tuple[str, int, str]]:
    """Names, values and places of the lengths that a factor may equal."""
    window = _mean_of(e.jacobian)
    if window is not None and window < e.right.size:
        yield "n", window, "the elements of one window"
    shapes = [("the input", e.right.shape, _INPUT_LETTERS)]
    shapes += [("the output", s, _OUTPUT_LETTERS) for s in e.output_shapes]
    # the batch first: it is the usual suspect, and other axes may have its length
    for what, shape, letters in sorted(shapes, key=lambda s: s[0] != "the output"):
        for axis, n in enumerate(shape):
            yield letters.get(len(shape), "N")[axis : axis + 1] or f"n{axis}", n, f"axis {axis} of {what}"
    for what, shape, _ in shapes:
        if len(shape) > 2:
            yield "H W" if len(shape) == 4 else "size", math.prod(shape[2:]), f"all axes from 2 of {what}"
        yield "elements", math.prod(shape), f"all elements of {what}"


def _mean_of(jacobian: np.ndarray) -> int | None:
    """How many elements each output is the mean of; None where it is none."""
    count = np.count_nonzero(jacobian, axis=1)
    if not count.size or count.min() != count.max() or not count[0]:
        return None
    weights = jacobian[jacobian != 0]
    return int(count[0]) if np.allclose(weights * count[0], 1.0, rtol=1e-5) else None


def _cotangent(e: Evidence) -> Iterator[str]:
    c = e.cotangent
    if e.equals(e.pulled_back(np.ones_like(c))):
        yield "ignores its upstream gradient: equals the gradient for a cotangent of ones"
    if e.equals(e.pulled_back(np.full_like(c, c.mean()))):
        yield "uses the mean of the upstream gradient in place of its elements"
    if e.equals(e.pulled_back(np.concatenate([np.full(p.size, p.sum()) for p in e.outputs(c)]))):
        yield "uses the sum of the upstream gradient in place of its elements"
    for i, part in enumerate(e.outputs(c)):
        name = "the upstream gradient" if len(e.output_shapes) == 1 else f"the upstream gradient of output {i}"

        def with_part(changed: np.ndarray, i: int = i) -> np.ndarray:
            parts = e.outputs(c)
            parts[i] = changed
            return e.pulled_back(np.concatenate([p.reshape(-1) for p in parts]))

        for axes in _axis_sets(part.ndim):
            if e.equals(with_part(np.flip(part, axes))):
                yield f"{name} is {_reversal(axes, part.ndim)}"
        for order in _orders(part.ndim):
            if e.equals(with_part(part.transpose(order).reshape(part.shape))):
                yield f"{name} is flattened in the wrong axis order: as {order} instead of {tuple(range(part.ndim))}"


def _samples(e: Evidence) -> Iterator[str]:
    contributions = e.cotangent[:, None] * e.jacobian  # (m, n)
    for axis in range(max((len(s) for s in e.output_shapes), default=0)):
        for entry, word in ((0, "first"), (-1, "last")):
            chosen = np.concatenate([_slab(s, axis, entry).reshape(-1) for s in e.output_shapes])
            if e.equals((contributions * chosen[:, None]).sum(0).reshape(e.right.shape)):
                what = "sample of the batch" if axis == 0 else f"entry of output axis {axis}"
                yield f"only the {word} {what} contributes: the sum over axis {axis} is missing"


def _slab(shape: tuple[int, ...], axis: int, entry: int) -> np.ndarray:
    mask = np.zeros(shape, bool)
    if axis < len(shape) and shape[axis]:
        mask[(slice(None),) * axis + (entry,)] = True
    return mask


def _turned(e: Evidence) -> Iterator[str]:
    right = e.right
    for axes in _axis_sets(right.ndim):
        if e.equals(np.flip(right, axes)):
            yield f"equals the right gradient {_reversal(axes, right.ndim)}"
    for order in _orders(right.ndim):
        moved = right.transpose(order)
        if e.equals(moved):
            last_two = right.ndim > 1 and order[:-2] == tuple(range(right.ndim - 2))
            yield "equals the right gradient transposed" + ("" if last_two else f" as {order}")
        elif e.equals(moved.reshape(right.shape)):
            yield f"flattened in the wrong axis order: the elements come as {order}, not {tuple(range(right.ndim))}"


def _axis_sets(ndim: int) -> Iterator[tuple[int, ...]]:
    """The last two axes together first, then every axis alone."""
    if ndim >= 2:
        yield ndim - 2, ndim - 1
    yield from ((axis,) for axis in range(ndim))


def _reversal(axes: tuple[int, ...], ndim: int) -> str:
    return "rotated by 180 degrees over the last two axes" if len(axes) == 2 else f"reversed along axis {axes[0]}"


def _orders(ndim: int) -> Iterator[tuple[int, ...]]:
    if 2 <= ndim <= 5:
        yield from itertools.islice(itertools.permutations(range(ndim)), 1, None)


def _reduced(e: Evidence) -> Iterator[str]:
    """Mistakes in undoing a broadcast; they need outputs that each depend on one element of this input."""
    if len(e.output_shapes) != 1 or len(e.jacobian) <= e.right.size or (np.count_nonzero(e.jacobian, axis=1) > 1).any():
        return
    shape = e.output_shapes[0]
    spread = (e.cotangent[:, None] * e.jacobian).sum(1).reshape(shape)  # the gradient before its reduction
    for count in range(1, len(shape) + 1):
        for axes in itertools.combinations(range(len(shape)), count):
            if spread.sum(axes).size != e.right.size:
                continue
            if e.equals(spread.sum(axes).reshape(e.right.shape)):
                yield f"summed over the wrong axis: over {axes} of the output's shape {shape}"
            for entry, word in ((0, "first"), (-1, "last")):
                one = spread
                for axis in reversed(axes):
                    one = one.take(entry, axis)
                if e.equals(one.reshape(e.right.shape)):
                    yield f"the broadcast is not undone: only the {word} entry along {axes} arrives, not the sum"


# derivatives that are written with the result, or with the argument, and are often given the other one
_FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "1 - {v}*{v}": lambda v: 1 - v * v,
    "{v}*(1 - {v})": lambda v: v * (1 - v),
    "{v}": lambda v: v,
    "1/{v}": lambda v: 1 / v,
    "1/(2*{v})": lambda v: 0.5 / v,
    "exp({v})": np.exp,
    "cos({v})": np.cos,
    "1/(1 + {v}*{v})": lambda v: 1 / (1 + v * v),
}


def _elementwise(e: Evidence) -> Iterator[str]:
    """Mistakes with the derivative of an element-wise operation."""
    if not e.one_to_one:
        return
    c = e.cotangent.reshape(e.wrong.shape)
    if e.equals(c):
        yield "equals the upstream gradient: the derivative of the operation is missing"
    if e.equals(c * (c > 0)):
        yield "equals the positive part of the upstream gradient: masked by the sign of the gradient, not of the input"
    if e.value is None or e.result is None or e.value.shape != e.wrong.shape:
        return
    x, y = e.value, e.result.reshape(e.value.shape)
    with np.errstate(all="ignore"):
        for text, formula in _FORMULAS.items():
            for given, belongs, name, right_name in ((x, y, "x", "y"), (y, x, "y", "x")):
                if e.equals(c * formula(given)) and np.allclose(c * formula(belongs), e.right, rtol=e.tolerance):
                    what = {"x": "the input x", "y": "the output y"}
                    yield (
                        f"the derivative is {text.format(v=right_name)} with {what[right_name]}, but was computed as "
                        f"{text.format(v=name)} with {what[name]}"
                    )


def _missing_terms(e: Evidence) -> Iterator[str]:
    """Derivatives that forget that an output depends on more than its own element."""
    m, n = e.jacobian.shape
    if m == n and not e.one_to_one:
        c = e.cotangent.reshape(e.wrong.shape)
        if e.equals(np.diag(e.jacobian).reshape(c.shape) * c):
            yield "each output is taken to depend on its own element alone: only the diagonal of the Jacobian is there"
        for axis in reversed(range(c.ndim)):
            if c.shape[axis] > 1 and _constant(e.wrong / c, axis, e.tolerance):
                yield (
                    f"the upstream gradient times one number along axis {axis}: what the operation computes over that "
                    "axis (a mean, a variance, a sum) is taken as a constant, its own derivative is missing"
                )
                break
    absent = (e.wrong == 0) & (np.abs(e.right) > e.tolerance * e.scale)
    if absent.any() and e.equals(np.where(absent, 0.0, e.right)):
        first = _index(np.argwhere(absent)[0])
        yield f"right where something arrives, but {absent.sum()} of {n} elements get nothing, the first at {first}"


def _constant(values: np.ndarray, axis: int, tolerance: float) -> bool:
    spread = np.ptp(values, axis=axis)
    return bool((spread <= tolerance * np.abs(values).max()).all())


def _overlap(e: Evidence) -> Iterator[str]:
    """`=` in place of `+=`: an element that several windows read holds the share of one of them."""
    shares = e.cotangent[:, None] * e.jacobian  # (m, n)
    if len(e.output_shapes) == 1 and len(e.output_shapes[0]) > 2:  # a window sends all its channels at once
        batch, channels, *size = e.output_shapes[0]
        shares = shares.reshape(batch, channels, math.prod(size), -1).sum(1).reshape(batch * math.prod(size), -1)
    wrong, right = e.wrong.reshape(-1), e.right.reshape(-1)
    reads = shares != 0
    near = np.abs(shares - wrong) <= e.tolerance * e.scale
    if (reads.sum(0) > 1).any() and ((reads & near).any(0) | (np.abs(wrong - right) <= e.tolerance * e.scale)).all():
        yield (
            "right only where windows do not overlap: elements in several windows got the share of one; contributions "
            "must be added (+=), not assigned"
        )


def _other_argument(e: Evidence) -> Iterator[str]:
    """The right gradient at another value of one of the other inputs: a kernel that is not turned, a transpose."""
    if e.right_with is None:
        return
    for position, value in e.arguments.items():
        for axes in _axis_sets(value.ndim):
            if value.size > 1 and e.equals(e.right_with(position, np.flip(value, axes).copy())):
                yield (
                    f"equals the gradient for input {position} {_reversal(axes, value.ndim)}: it is turned, or not "
                    "turned, where it should be the other way"
                )
        square = value.ndim > 1 and value.shape[-1] == value.shape[-2]
        if square and e.equals(e.right_with(position, np.swapaxes(value, -1, -2).copy())):
            yield f"equals the gradient for input {position} transposed"


def _where_wrong(e: Evidence) -> str:
    """No known mistake: say where the wrong elements lie, if they are not everywhere."""
    wrong = np.abs(e.wrong - e.right) > e.tolerance * e.scale
    places = []
    for axis, n in enumerate(wrong.shape):
        rest = tuple(i for i in range(wrong.ndim) if i != axis)
        entries = np.flatnonzero(wrong.any(axis=rest))
        if 0 < len(entries) < n:
            places.append(f"axis {axis} at {entries.tolist()}")
    return "no known mistake" + (f"; wrong only on {', '.join(places)}" if places else "")


def _index(index: Sequence[int]) -> str:
    return "[" + ", ".join(str(int(i)) for i in index) + "]"
