"""Batches of a data set: in an order that only the seed and the epoch decide, by threads, resumable anywhere.

Workers are threads, never forked processes: a fork copies locks that other threads hold, and nobody opens
them there; and NumPy and Pillow release the interpreter lock where the time goes.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from .collate import default_collate, to_tensors
from .dataset import fetch_batch, fetch_sample
from .errors import SampleError
from .rng import SampleRngs, check_seed
from .sampler import IterableSampler, RandomSampler, Sampler, SequentialSampler


class DataLoader:
    """Iterate over a data set in batches; one ``for`` loop is one epoch.

    - The order depends on ``(seed, epoch)`` alone, the augmentation of a sample on ``(seed, epoch, index)``
      alone: any ``num_workers`` gives the same bits.
    - ``state_dict()`` after any batch, loaded into a new loader, continues with the next batch.
    - A data set with ``get_batch`` (arrays in memory) is indexed a whole batch at a time.

    :param dataset: a :class:`Dataset`, or anything with ``len()`` and ``[index]``.
    :param batch_size: samples per batch; the last one of an epoch may be smaller.
    :param shuffle: a new order each epoch.
    :param sampler: the order instead of ``shuffle``: a :class:`Sampler` or an iterable of sample numbers.
    :param num_workers: threads that load ahead; 0 loads in the caller.
    :param collate_fn: list of samples -> batch, instead of :func:`default_collate`; its result is handed on as it is.
    :param drop_last: leave out a last batch that is not full.
    :param seed: of order and augmentation.
    :param prefetch: batches that each worker loads ahead.
    :param to_tensor: hand out minidl Tensors; ``False`` leaves NumPy arrays.
    :param pin_memory: PyTorch's, changes nothing.
    :param generator: PyTorch's: its initial seed instead of ``seed``.
    :param device: where the tensors go; to "cuda" the next batch is copied while the present one is computed with.

    Each loop takes the next epoch, also after a loop left early; ``set_epoch`` chooses one. An exception in a
    data set or transform arrives as :class:`SampleError` with the number of the sample, in the caller's thread.

    >>> loader = DataLoader([10, 11, 12, 13, 14], batch_size=2, to_tensor=False)
    >>> [batch.tolist() for batch in loader]
    [[10, 11], [12, 13], [14]]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        sampler: Sampler | Iterable[int] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        drop_last: bool = False,
        seed: int = 0,
        prefetch: int = 2,
        to_tensor: bool = True,
        device: Any = "cpu",
        pin_memory: bool = False,
        generator: Any = None,
        batch_sampler: Any = None,
    ) -> None:
        if batch_sampler is not None:
            raise ValueError("batch_sampler is not taken: give batch_size and a sampler that yields single numbers")
        if generator is not None:  # PyTorch's way to fix the order
            seed = generator.initial_seed if isinstance(generator.initial_seed, int) else generator.initial_seed()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("num_workers", num_workers, 0),
            ("prefetch", prefetch, 1),
        ):
            if not isinstance(value, (int, np.integer)) or value < least:
                raise ValueError(f"{name} is a whole number >= {least}, got {value!r}")
        if sampler is not None and shuffle:
            raise ValueError("a sampler decides the order, so shuffle=True beside it means nothing: leave one out")
        self.dataset, self.batch_size, self.shuffle = dataset, int(batch_size), bool(shuffle)
        self.num_workers, self.prefetch = int(num_workers), int(prefetch)
        self.collate_fn, self.drop_last, self.to_tensor = collate_fn, bool(drop_last), to_tensor
        self.seed = check_seed(seed)
        self.device = self._checked_device(device)
        if sampler is None:
            sampler = RandomSampler(dataset, seed=self.seed) if shuffle else SequentialSampler(dataset)
        self.sampler: Sampler = sampler if isinstance(sampler, Sampler) else IterableSampler(sampler)
        self.epoch = 0  # of the loop that runs, or else of the next one
        self._position = 0  # batches of this epoch that the caller has got
        self._started = False  # whether a loop over this epoch has begun
        self._turn = 0  # tells the loop that runs now from an older one still alive

    def _checked_device(self, device: Any) -> Any:
        """The device to copy to, None for the CPU; at once, not in the first epoch, an error where there is none."""
        from ..backend import usable

        target = usable(device)
        if target.type == "cpu":
            return None
        if not self.to_tensor:
            raise ValueError(f"to_tensor=False leaves NumPy arrays, which cannot go to {target}: leave one of them out")
        return target

    def __len__(self) -> int:
        """Batches per epoch."""
        full, rest = divmod(len(self.sampler), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def set_epoch(self, epoch: int) -> None:
        """Let the next loop be epoch ``epoch``; after ``load_state_dict`` of that same epoch its place is kept."""
        if not isinstance(epoch, (int, np.integer)) or epoch < 0:
            raise ValueError(f"an epoch is a whole number >= 0, got {epoch!r}")
        if epoch != self.epoch or self._started:
            self.epoch, self._position, self._started = int(epoch), 0, False
            self._turn += 1

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands, as plain numbers: the next batch a loader that loads this gives is the next one."""
        return {
            "epoch": self.epoch,
            "position": self._position,
            "order_crc32": self._crc32(self.epoch),
            **self._identity(),
        }

    def _crc32(self, epoch: int) -> int:
        return zlib.crc32(self.order(epoch).astype("<i8").tobytes())

    def _identity(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "length": len(self.sampler),
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "drop_last": self.drop_last,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state`` was taken; the loader must be built with the same data and settings."""
        missing = {"epoch", "position", "order_crc32", *self._identity()} - set(state)
        if missing:
            raise ValueError(f"not the state of a DataLoader: {', '.join(sorted(missing))} missing")
        for name, mine in self._identity().items():
            if state[name] != mine:
                raise ValueError(
                    f"the saved loader had {name}={state[name]!r}, this one has {name}={mine!r}: the rest of the epoch "
                    f"would not be the one that was interrupted. Build the loader with {name}={state[name]!r}"
                )
        epoch, position = state["epoch"], state["position"]
        if not (isinstance(epoch, int) and isinstance(position, int) and epoch >= 0 and 0 <= position <= len(self)):
            raise ValueError(f"the state says batch {position!r} of epoch {epoch!r}, an epoch has {len(self)} batches")
        if position and self._crc32(epoch) != state["order_crc32"]:
            raise ValueError(
                f"the order of epoch {epoch} is not the one that was interrupted after batch {position}: another "
                "sampler, or a NumPy that shuffles differently. Without load_state_dict the epoch starts afresh"
            )
        self.epoch, self._position, self._started = epoch, position, False
        self._turn += 1

    def order(self, epoch: int) -> np.ndarray:
        """The sample numbers of an epoch in the order in which they come."""
        order = np.asarray(self.sampler.order(epoch), np.intp)
        bad = order[(order < 0) | (order >= len(self.dataset))]
        if len(bad):
            raise IndexError(f"the sampler asks for sample {bad[0]}, the data set has {len(self.dataset)}")
        return order

    def __iter__(self) -> Iterator[Any]:
        if self._started:  # the epoch before was left early
            self.epoch, self._position = self.epoch + 1, 0
        self._started = True
        self._turn += 1
        return self._loop(self.epoch, self._position, self._turn)

    def _loop(self, epoch: int, start: int, turn: int) -> Iterator[Any]:
        order = self.order(epoch)
        count = len(self)

        def load(k: int) -> Any:
            return self._load(order[k * self.batch_size : (k + 1) * self.batch_size], epoch, k)

        batches = self._threaded(load, range(start, count)) if self.num_workers else map(load, range(start, count))
        made = map(to_tensors, batches) if self.to_tensor and self.collate_fn is None else batches
        if self.device is not None:
            from .ahead import batches_on

            made = batches_on(made, self.device)
        try:
            for k, batch in enumerate(made, start):
                if turn == self._turn:
                    self._position = k + 1
                yield batch
        finally:
            if self.num_workers:
                batches.close()  # type: ignore[attr-defined]
        if turn == self._turn:
            self.epoch, self._position, self._started = epoch + 1, 0, False

    def _threaded(self, load: Callable[[int], Any], numbers: range) -> Iterator[Any]:
        """``map(load, numbers)`` by threads, in order, with a bounded number of batches ahead."""
        pool = ThreadPoolExecutor(self.num_workers, thread_name_prefix="minidl-data")
        waiting: deque[Future[Any]] = deque()
        try:
            for k in numbers:
                waiting.append(pool.submit(load, k))
                if len(waiting) > self.num_workers * self.prefetch:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # also when the caller leaves early: what has begun ends, what has not is dropped
            pool.shutdown(wait=True, cancel_futures=True)

    def _load(self, indices: np.ndarray, epoch: int, number: int) -> Any:
        def rngs() -> SampleRngs:
            return SampleRngs(self.seed, epoch, indices)

        where = f"epoch {epoch}, batch {number}"
        if self.collate_fn is None:
            try:
                columns = fetch_batch(self.dataset, indices, rngs())
            except Exception as error:
                self._samples(indices, rngs(), epoch, where)  # names the sample, if a single one fails too
                raise SampleError(
                    f"get_batch failed on samples {_shorten(indices)} ({where}), each of which loads alone: "
                    f"{type(error).__name__}: {error}",
                    None,
                    epoch,
                ) from error
            if columns is not None:
                return columns
        samples = self._samples(indices, rngs(), epoch, where)
        try:
            return (self.collate_fn or default_collate)(samples)
        except Exception as error:
            raise SampleError(
                f"samples {_shorten(indices)} ({where}) do not make a batch: {type(error).__name__}: {error}",
                None,
                epoch,
            ) from error

    def _samples(self, indices: np.ndarray, rngs: SampleRngs, epoch: int, where: str) -> list[Any]:
        samples = []
        for i, index in enumerate(indices.tolist()):
            try:
                samples.append(fetch_sample(self.dataset, index, rngs[i]))
            except Exception as error:
                raise SampleError(
                    f"sample {index} ({where}) could not be loaded: {type(error).__name__}: {error}",
                    index,
                    epoch,
                ) from error
        return samples

    def __repr__(self) -> str:
        return (
            f"DataLoader({self.dataset!r}, batch_size={self.batch_size}, shuffle={self.shuffle}, "
            f"num_workers={self.num_workers}, seed={self.seed}, batches={len(self)})"
        )


def _shorten(indices: np.ndarray) -> str:
    shown = ", ".join(str(i) for i in indices[:8].tolist())
    return shown if len(indices) <= 8 else f"{shown}, ... ({len(indices)} in all)"
