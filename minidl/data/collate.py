"""From a list of samples to a batch."""

from __future__ import annotations

from typing import Any

import numpy as np


def default_collate(samples: list[Any]) -> Any:
    """Stack samples to a batch: arrays and numbers to arrays (N, ...), tuples and dicts member by member.

    Python floats become float32, whole numbers int64, texts stay a list.

    >>> images, labels = default_collate([(np.zeros((1, 2, 2)), 3), (np.ones((1, 2, 2)), 4)])
    >>> images.shape, labels
    ((2, 1, 2, 2), array([3, 4]))
    """
    first = samples[0]
    if isinstance(first, dict):
        return {key: default_collate([s[key] for s in samples]) for key in first}
    if isinstance(first, (tuple, list)):
        if len({len(s) for s in samples}) > 1:
            raise ValueError(f"samples of one batch have {sorted({len(s) for s in samples})} members; they must agree")
        return tuple(default_collate(list(column)) for column in zip(*samples))
    if isinstance(first, (str, bytes)) or first is None:
        return list(samples)
    if isinstance(first, float) and not isinstance(first, np.floating):
        return np.array(samples, np.float32)
    if isinstance(first, int) and not isinstance(first, bool):
        return np.array(samples, np.int64)
    arrays = [np.asarray(s) for s in samples]
    for position, array in enumerate(arrays):
        if array.shape != arrays[0].shape:
            raise ValueError(
                f"samples of one batch have different shapes: number 0 of the batch has {arrays[0].shape}, number "
                f"{position} has {array.shape}. Bring them to one size with transforms.Resize or a crop, or pass "
                "collate_fn"
            )
    return np.stack(arrays)


def to_tensors(batch: Any) -> Any:
    """Every numeric array of a batch as a minidl Tensor, without a copy."""
    if isinstance(batch, dict):
        return {key: to_tensors(value) for key, value in batch.items()}
    if isinstance(batch, tuple):
        return tuple(to_tensors(value) for value in batch)
    if isinstance(batch, np.ndarray) and batch.dtype.kind in "biuf":
        import minidl  # here, so that the data floor works without the tensor one

        return minidl.from_numpy(batch)
    return batch
