"""Random numbers: one generator for the process, seeded by ``manual_seed``, or one of your own.

Every random operation takes ``generator=``; without it the default generator is used.  Numbers are drawn on the
CPU (Philox, counter-based), so a seed gives the same numbers on every device.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import numpy as np

from .backend import device as parse_device
from .backend import to_device
from .dtypes import as_dtype, get_default_dtype
from .ops.keywords import with_torch_names


def check_seed(seed: int) -> int:
    """The seed as an ``int``; NumPy's generators take whole numbers >= 0 only."""
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"a seed is a whole number >= 0, got {seed!r}; write for example seed=0")
    return int(seed)


class Generator:
    """A stream of random numbers with a state that can be saved.

    >>> import minidl
    >>> g = minidl.Generator().manual_seed(1)
    >>> state = g.get_state()
    >>> a = minidl.rand(3, generator=g)
    >>> g.set_state(state)
    >>> bool((minidl.rand(3, generator=g) == a).all())
    True
    """

    def __init__(self, seed: int | None = None) -> None:
        seed = None if seed is None else check_seed(seed)
        self.numpy = np.random.Generator(np.random.Philox(seed))
        self.initial_seed = seed

    def manual_seed(self, seed: int) -> Generator:
        """Begin the stream that belongs to ``seed``."""
        self.initial_seed = check_seed(seed)
        self.numpy = np.random.Generator(np.random.Philox(self.initial_seed))
        return self

    def get_state(self) -> dict[str, Any]:
        """The position in the stream, as plain numbers and lists that fit in JSON."""
        return _plain(self.numpy.bit_generator.state)

    def set_state(self, state: dict[str, Any]) -> None:
        """Go back to a position from :meth:`get_state`."""
        restored = {k: dict(v) if isinstance(v, dict) else v for k, v in state.items()}
        restored["state"] = {k: np.asarray(v, dtype=np.uint64) for k, v in restored["state"].items()}
        restored["buffer"] = np.asarray(restored["buffer"], dtype=np.uint64)
        self.numpy.bit_generator.state = restored


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seed the default generator: same seed, same numbers, on every machine.

    >>> import minidl
    >>> generator = minidl.manual_seed(0)
    >>> first = minidl.rand(2)
    >>> _ = minidl.manual_seed(0)
    >>> bool((minidl.rand(2) == first).all())
    True
    """
    return default_generator.manual_seed(seed)


def get_rng_state() -> dict[str, Any]:
    """State of the default generator.

    >>> import minidl
    >>> state = minidl.get_rng_state()
    >>> first = minidl.rand(2)
    >>> minidl.set_rng_state(state)
    >>> bool((minidl.rand(2) == first).all())
    True
    """
    return default_generator.get_state()


def set_rng_state(state: dict[str, Any]) -> None:
    """Put the default generator back to a saved state.

    >>> import minidl
    >>> state = minidl.get_rng_state()
    >>> x = minidl.rand(2)
    >>> minidl.set_rng_state(state)
    >>> bool((minidl.rand(2) == x).all())
    True
    """
    default_generator.set_state(state)


def numpy_generator(generator: Generator | None) -> np.random.Generator:
    """The NumPy generator behind ``generator``, the default one when None."""
    generator = generator or default_generator
    for drawn in tuple(_WATCHING):
        drawn.note(generator)
    return generator.numpy


class Drawn:
    """The generators that are drawn from inside a ``with`` block, by this thread, and where they stood before.

    >>> with Drawn() as drawn:
    ...     first = rand(2)
    >>> drawn.rewind()
    >>> bool((rand(2) == first).all())
    True
    """

    def __init__(self) -> None:
        self.before: dict[Generator, dict[str, Any]] = {}
        self.thread = threading.get_ident()

    def __enter__(self) -> Drawn:
        _WATCHING.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _WATCHING.remove(self)

    def note(self, generator: Generator) -> None:
        """``generator`` is about to be drawn from."""
        if generator not in self.before and threading.get_ident() == self.thread:
            self.before[generator] = generator.get_state()

    def rewind(self) -> None:
        """Put all of them back to where they stood."""
        for generator, state in self.before.items():
            generator.set_state(state)


_WATCHING: list[Drawn] = []


def _finish(array: Any, dtype: Any, device: Any, requires_grad: bool) -> Any:
    from .ops.creation import _made

    return _made(to_device(array.astype(as_dtype(dtype), copy=False), parse_device(device)), requires_grad)


@with_torch_names
def rand(
    *size: Any, dtype: Any = None, device: Any = "cpu", requires_grad: bool = False, generator: Generator | None = None
) -> Any:
    """Uniform numbers in [0, 1).

    >>> import minidl
    >>> x = minidl.rand(2, 3)
    >>> x.shape, bool(((x >= 0) & (x < 1)).all())
    ((2, 3), True)
    """
    from .ops.shape import lengths

    dtype = as_dtype(dtype or get_default_dtype())
    drawn = dtype if dtype in (np.float32, np.float64) else np.dtype("float32")
    return _finish(numpy_generator(generator).random(lengths("rand", size), drawn), dtype, device, requires_grad)


@with_torch_names
def randn(
    *size: Any, dtype: Any = None, device: Any = "cpu", requires_grad: bool = False, generator: Generator | None = None
) -> Any:
    """Numbers of the standard normal distribution.

    >>> import minidl
    >>> minidl.randn(2, 3).shape, minidl.randn(4, dtype="float64").dtype
    ((2, 3), dtype('float64'))
    """
    from .ops.shape import lengths

    dtype = as_dtype(dtype or get_default_dtype())
    drawn = dtype if dtype in (np.float32, np.float64) else np.dtype("float32")
    return _finish(
        numpy_generator(generator).standard_normal(lengths("randn", size), drawn), dtype, device, requires_grad
    )


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    dtype: Any = "int64",
    device: Any = "cpu",
    generator: Generator | None = None,
) -> Any:
    """Integers from ``low`` (default 0) up to, not including, ``high``: ``randint(10, (2, 3))``.

    >>> import minidl
    >>> x = minidl.randint(10, (2, 3))
    >>> x.shape, x.dtype, bool((x < 10).all())
    ((2, 3), dtype('int64'), True)
    """
    if size is None:
        low, high, size = 0, low, high
    if not isinstance(size, Iterable):
        raise TypeError("randint needs a size, for example randint(3, 7, (4,)) or randint(10, (2, 3))")
    from .ops.shape import lengths

    if low >= high:
        raise ValueError(f"randint: there is no whole number from {low} up to, not including, {high}")
    shape = lengths("randint", (size,))
    return _finish(numpy_generator(generator).integers(low, high, shape), dtype, device, False)


def randperm(n: int, *, device: Any = "cpu", generator: Generator | None = None) -> Any:
    """The integers 0 to n-1 in random order.

    >>> import minidl
    >>> minidl.randperm(4).sort().values
    tensor([0, 1, 2, 3])
    """
    from .ops.shape import lengths

    return _finish(numpy_generator(generator).permutation(*lengths("randperm", (n,))), "int64", device, False)


def bernoulli(p: Any, *, generator: Generator | None = None) -> Any:
    """1 with probability ``p`` (a tensor of probabilities), else 0; of the shape and dtype of ``p``.

    >>> import minidl
    >>> minidl.bernoulli(minidl.tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    if p.numel() and not p.is_cuda and not ((p >= 0) & (p <= 1)).all():  # on a device looking would make the host wait
        raise ValueError(f"bernoulli: probabilities lie between 0 and 1, not {p.min().item():g} to {p.max().item():g}")
    return (rand(p.shape, dtype=p.dtype, generator=generator) < p.detach().cpu()).to(p.dtype).to(p.device)


def rand_like(input: Any, *, generator: Generator | None = None) -> Any:
    """Uniform numbers of the shape, dtype and device of ``input``.

    >>> import minidl
    >>> minidl.rand_like(minidl.zeros(2, 3)).shape
    (2, 3)
    """
    return rand(input.shape, dtype=input.dtype, device=input.device, generator=generator)


def randn_like(input: Any, *, generator: Generator | None = None) -> Any:
    """Normal numbers of the shape, dtype and device of ``input``.

    >>> import minidl
    >>> minidl.randn_like(minidl.zeros(2, 3)).shape
    (2, 3)
    """
    return randn(input.shape, dtype=input.dtype, device=input.device, generator=generator)
