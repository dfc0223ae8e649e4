"""Pictures of a run, by matplotlib."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from .. import packages
from ..io import atomic_path


def blank_figure(width: float, height: float) -> Any:
    """A figure of so many inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        if packages.version("matplotlib"):  # it or something that it needs is broken
            raise ImportError(packages.explain(error) or str(error)) from error
        raise ImportError("plots need matplotlib: python -m pip install matplotlib") from None
    return Figure(figsize=(width, height), layout="constrained")  # no pyplot: no window system, no global state


def _save(figure: Any, path: str | os.PathLike[str]) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def plot_history(history: Sequence[dict[str, Any]], path: str | os.PathLike[str], title: str = "") -> None:
    """Loss and error rate of training and test data over the epochs, as a PNG."""
    figure = blank_figure(9, 3.6)
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    marker = "o" if len(epochs) < 3 else ""
    for name, style in (("train", "-"), ("test", "-")):
        left.plot(epochs, [row[f"{name}_loss"] for row in history], style, marker=marker, label=name)
        right.plot(epochs, [100 * (1 - row[f"{name}_accuracy"]) for row in history], style, marker=marker, label=name)
    left.set(xlabel="epoch", ylabel="cross-entropy (nats)")
    right.set(xlabel="epoch", ylabel="error (%)")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
        axes.xaxis.get_major_locator().set_params(integer=True)
    if history:
        right.set_ylim(bottom=0)
    figure.suptitle(title)
    _save(figure, path)


def plot_confusion(confusion: Any, names: Sequence[str], path: str | os.PathLike[str], title: str = "") -> None:
    """The confusion matrix as a PNG; colours show the mistakes, not the many right answers."""
    import numpy as np

    figure = blank_figure(1.6 + 0.42 * len(names), 1.4 + 0.42 * len(names))
    axes = figure.subplots()
    wrong = confusion.astype(float).copy()
    np.fill_diagonal(wrong, 0)
    axes.imshow(wrong, cmap="Reds", vmin=0, vmax=max(1.0, wrong.max() * 1.4))
    for i in range(len(names)):
        for j in range(len(names)):
            if confusion[i, j]:
                axes.text(j, i, int(confusion[i, j]), ha="center", va="center", fontsize=8)
    axes.set(xlabel="answer", ylabel="truth", xticks=range(len(names)), yticks=range(len(names)))
    axes.set_xticklabels(names, rotation=90 if max(map(len, map(str, names)), default=0) > 2 else 0)
    axes.set_yticklabels(names)
    axes.set_title(title, fontsize=10)
    _save(figure, path)
