"""Embedding: a table whose rows are looked up by number."""

from __future__ import annotations

from typing import Any

from ..ops.linear import unsupported_embedding
from ..tensor import Tensor
from . import functional as F
from . import init
from .linear import new_parameter, positive
from .module import Module
from .parameter import Parameter


class Embedding(Module):
    """Rows of ``weight`` (num_embeddings, embedding_dim) by number: integers of any shape (*) to (*, embedding_dim).

    The rows begin as N(0, 1).  The row ``padding_idx`` begins as zeros and gets no gradient.

    >>> import minidl
    >>> table = minidl.nn.Embedding(10, 3, padding_idx=0)
    >>> table(minidl.tensor([[1, 2], [0, 2]])).shape
    (2, 2, 3)
    >>> table.weight[0].tolist()
    [0.0, 0.0, 0.0]
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        unsupported_embedding("Embedding", max_norm, norm_type, scale_grad_by_freq, sparse)
        positive("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(f"Embedding: padding_idx = {padding_idx} is none of the {num_embeddings} rows")
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.weight = new_parameter(num_embeddings, embedding_dim, device=device, dtype=dtype)
        self.reset_parameters()

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None) -> Embedding:
        """An embedding with the rows of the matrix ``embeddings``; they are trained only if not ``freeze``."""
        table = embeddings if isinstance(embeddings, Tensor) else Tensor(embeddings)
        if table.ndim != 2:
            raise ValueError(f"from_pretrained needs a matrix (rows, width), got shape {table.shape}")
        layer = cls(table.shape[0], table.shape[1], padding_idx, device=table.device, dtype=table.dtype)
        layer.weight = Parameter(table.detach(), requires_grad=not freeze)
        return layer

    def reset_parameters(self) -> None:
        """Draw new rows."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            init.zeros_(self.weight.detach()[self.padding_idx])

    def forward(self, input: Any) -> Any:
        return F.embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
