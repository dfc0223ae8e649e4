"""Counting right and wrong answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Evaluation:
    """Result of a pass over a data set: mean loss, and how often class ``i`` was taken for class ``j``.

    >>> result = Evaluation(0.25, np.array([[9, 1], [2, 8]]))
    >>> result.accuracy, result.recall().tolist()
    (0.85, [0.9, 0.8])
    """

    loss: float
    confusion: np.ndarray  # (classes, classes) int64, rows are the truth, columns the answer

    @property
    def count(self) -> int:
        return int(self.confusion.sum())

    @property
    def correct(self) -> int:
        return int(np.trace(self.confusion))

    @property
    def accuracy(self) -> float:
        """Share of right answers, between 0 and 1; NaN of nothing."""
        return self.correct / self.count if self.count else float("nan")

    def recall(self) -> np.ndarray:
        """For each class, the share of its members that was recognised."""
        totals = self.confusion.sum(1)
        return np.diag(self.confusion) / np.where(totals == 0, 1, totals)


def confusion_matrix(truth: np.ndarray, answer: np.ndarray, classes: int) -> np.ndarray:
    """How often class ``i`` (row) got the answer ``j`` (column).

    >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 1, 0]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    return np.bincount(truth * classes + answer, minlength=classes * classes).reshape(classes, classes)


def evaluate(model: Any, loader: Any, classes: int | None = None) -> Evaluation:
    """Mean cross-entropy and confusion matrix of ``model`` on ``loader``, in evaluation mode, without a graph.

    The model and its parts are put back into the modes they had.

    >>> import minidl
    >>> data = minidl.data.ArrayDataset(np.eye(3, dtype=np.float32), np.array([0, 1, 1]))
    >>> result = evaluate(minidl.nn.Identity(), minidl.data.DataLoader(data, batch_size=2))
    >>> result.correct, result.confusion.tolist()
    (2, [[1, 0, 0], [0, 1, 1], [0, 0, 0]])
    """
    from .. import no_grad
    from ..nn.functional import cross_entropy
    from ..nn.modes import modes_kept

    total, seen = 0.0, 0
    matrix: np.ndarray | None = None
    with modes_kept(model), no_grad():
        model.eval()
        for x, y in loader:
            scores = model(x)
            total += cross_entropy(scores, y, reduction="sum").item()
            seen += len(y)
            k = classes or scores.shape[1]
            part = confusion_matrix(y.cpu().numpy(), scores.argmax(1).cpu().numpy(), k)
            matrix = part if matrix is None else matrix + part
    if matrix is None:
        matrix = np.zeros((classes or 0, classes or 0), np.int64)
    return Evaluation(total / seen if seen else float("nan"), matrix)


def accuracy_line(evaluation: Evaluation) -> str:
    """The result in one line.

    >>> accuracy_line(Evaluation(0.03125, np.array([[9, 1], [0, 10]])))
    'test accuracy 95.00 % (19 of 20), loss 0.0312'
    """
    right = f"{evaluation.correct:,} of {evaluation.count:,}"
    return f"test accuracy {100 * evaluation.accuracy:.2f} % ({right}), loss {evaluation.loss:.4f}"


_MOST_COLUMNS = 20


def confusion_table(evaluation: Evaluation, names: Sequence[str]) -> Any:
    """The confusion matrix as a rich table; zeros are dots, so that the mistakes stand out.

    Of more than twenty classes it lists the mistakes that are made most often.
    """
    from rich.table import Table
    from rich.text import Text

    matrix = evaluation.confusion
    if len(matrix) > _MOST_COLUMNS:
        table = Table("truth", "answer", "times", title="most frequent mistakes", title_justify="left")
        wrong = matrix - np.diag(np.diag(matrix))
        for flat in np.argsort(-wrong, axis=None, kind="stable")[:10]:
            i, j = np.unravel_index(flat, wrong.shape)
            if wrong[i, j]:
                table.add_row(names[i], names[j], str(wrong[i, j]))
        return table
    table = Table(title="confusion matrix: rows are the truth, columns the answer", title_justify="left")
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("recall", justify="right")
    for i, (row, recall) in enumerate(zip(matrix, evaluation.recall())):
        cells = [
            Text("·", "dim") if n == 0 else Text(str(n), "bold" if i == j else "red")
            for j, n in enumerate(row.tolist())
        ]
        table.add_row(names[i], *cells, f"{recall:.1%}")
    return table
