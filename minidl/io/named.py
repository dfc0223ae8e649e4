"""Named arrays with what else their file said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


class Weights(dict[str, np.ndarray]):
    """Arrays by name, in the order of the file they were read from.

    ``extra`` holds the plain values that stood beside them: epoch, accuracy, options, metadata. ``key`` is the place
    of the arrays in a nested file ("state_dict"), ``prefix`` what all names began with there ("module."), ``path`` the
    file, for messages.

    >>> weights = Weights({"fc.bias": np.zeros(10, np.float32)}, extra={"epoch": 3})
    >>> weights["fc.bias"].shape, weights.extra
    ((10,), {'epoch': 3})
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]] = (),
        *,
        extra: Mapping[str, Any] | None = None,
        key: str = "",
        prefix: str = "",
        path: str = "",
    ) -> None:
        super().__init__(arrays)
        self.extra = dict(extra or {})
        self.key, self.prefix, self.path = key, prefix, path
