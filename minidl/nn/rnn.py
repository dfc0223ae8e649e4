"""Recurrent layers: the three cells (Elman, LSTM, GRU) and the layers that run them over a sequence.

Each kind is one function, ``_step``, from what the input contributes and the state before to the state after; cells
call it once, layers once for every entry of the sequence.  Letters: L length of the sequence, N batch, I input size,
H hidden size, G*H all gates, D directions (1 or 2).  The input's part of the gates is one product for the whole
sequence.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, ClassVar

from ..ops import cat, stack, zeros
from . import functional as F
from . import init
from .linear import new_parameter, positive
from .module import Module

State = tuple[Any, ...]


class _Kind(Module):
    """What a cell and a layer of one kind share: the number of gates and the step."""

    gates: ClassVar[int]
    states: ClassVar[int] = 1  # how many tensors make the state: h, or h and c
    hidden_size: int

    def _step(self, gx: Any, state: State, w_hh: Any, b_hh: Any) -> State:
        """State after from ``gx`` (N, G*H), the input's part of the gates with its bias, and the state before."""
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Draw new values from U(-1/sqrt(H), 1/sqrt(H))."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)


class _Elman(_Kind):
    gates = 1
    nonlinearity: str

    def _check_nonlinearity(self, nonlinearity: str) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"{type(self).__name__}: nonlinearity must be 'tanh' or 'relu', not {nonlinearity!r}")
        self.nonlinearity = nonlinearity

    def _step(self, gx: Any, state: State, w_hh: Any, b_hh: Any) -> State:
        pre = gx + F.linear(state[0], w_hh, b_hh)
        return (F.tanh(pre) if self.nonlinearity == "tanh" else F.relu(pre),)


class _Lstm(_Kind):
    gates = 4
    states = 2

    def _step(self, gx: Any, state: State, w_hh: Any, b_hh: Any) -> State:
        h, c = state
        i, f, g, o = (gx + F.linear(h, w_hh, b_hh)).chunk(4, -1)  # each (N, H)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class _Gru(_Kind):
    gates = 3

    def _step(self, gx: Any, state: State, w_hh: Any, b_hh: Any) -> State:
        (h,) = state
        (xr, xz, xn), (hr, hz, hn) = gx.chunk(3, -1), F.linear(h, w_hh, b_hh).chunk(3, -1)  # each (N, H)
        r, z = (xr + hr).sigmoid(), (xz + hz).sigmoid()
        n = (xn + r * hn).tanh()
        return (n + z * (h - n),)


# ---- cells ------------------------------------------------------------------------------------------------------


class _Cell(_Kind):
    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        positive(type(self).__name__, input_size=input_size, hidden_size=hidden_size)
        self.input_size = input_size
        self.hidden_size = hidden_size
        rows, place = self.gates * hidden_size, {"device": device, "dtype": dtype}
        self.weight_ih = new_parameter(rows, input_size, **place)
        self.weight_hh = new_parameter(rows, hidden_size, **place)
        self.register_parameter("bias_ih", new_parameter(rows, **place) if bias else None)
        self.register_parameter("bias_hh", new_parameter(rows, **place) if bias else None)
        self.reset_parameters()

    def forward(self, input: Any, hx: Any = None) -> Any:
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            raise ValueError(
                f"{type(self).__name__} takes (N, {self.input_size}) or ({self.input_size},), one step of a sequence, "
                f"not an input "
                f"of shape {input.shape}"
            )
        if hx is None:
            size = (*input.shape[:-1], self.hidden_size)
            state: State = (zeros(size, dtype=input.dtype, device=input.device),) * self.states
        else:
            state = tuple(hx) if self.states > 1 else (hx,)
        for s in state:
            if s.shape != (*input.shape[:-1], self.hidden_size):
                raise ValueError(
                    f"{type(self).__name__}: for an input of shape {input.shape} the state must have shape "
                    f"{(*input.shape[:-1], self.hidden_size)}, not {s.shape}"
                )
        gx = F.linear(input, self.weight_ih, self.bias_ih)
        after = self._step(gx, state, self.weight_hh, self.bias_hh)
        return after if self.states > 1 else after[0]

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias_ih is not None else ", bias=False")


class RNNCell(_Elman, _Cell):
    """One step of Elman's network: ``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``.

    Called with x (N, I) or (I,) and h (N, H) or (H,), by default zeros; gives h'.

    >>> import minidl
    >>> cell = minidl.nn.RNNCell(10, 20)
    >>> h = None
    >>> for x in minidl.randn(6, 3, 10):
    ...     h = cell(x, h)
    >>> h.shape
    (3, 20)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self._check_nonlinearity(nonlinearity)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}")


class LSTMCell(_Lstm, _Cell):
    """One step of long short-term memory; gates in the order i f g o.  Hochreiter and Schmidhuber 1997.

    ``c' = sigmoid(f) * c + sigmoid(i) * tanh(g)`` and ``h' = sigmoid(o) * tanh(c')``.
    Called with x (N, I) and (h, c), by default zeros; gives (h', c').

    >>> import minidl
    >>> h, c = minidl.nn.LSTMCell(10, 20)(minidl.randn(3, 10))
    >>> h.shape, c.shape
    ((3, 20), (3, 20))
    """


class GRUCell(_Gru, _Cell):
    """One step of a gated recurrent unit; gates in the order r z n.  Cho et al. 2014.

    ``n = tanh(x_n + r * h_n)`` and ``h' = (1 - z) * n + z * h``.  Called with x (N, I) and h, by default zeros; gives
    h'.

    >>> import minidl
    >>> minidl.nn.GRUCell(10, 20)(minidl.randn(3, 10)).shape
    (3, 20)
    """


# ---- layers -----------------------------------------------------------------------------------------------------


class _Layers(_Kind):
    """Cells of one kind over a sequence, in layers, forwards and backwards.  Settings as in :class:`LSTM`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        positive(name, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        if not 0 <= dropout <= 1:
            raise ValueError(f"{name}: dropout is a probability, between 0 and 1, got {dropout!r}")
        if dropout and num_layers == 1:
            warnings.warn(
                f"{name}: dropout = {dropout} acts between layers, and there is only one: set num_layers, or dropout=0",
                stacklevel=3,
            )
        if not 0 <= proj_size < hidden_size:
            raise ValueError(f"{name}: proj_size must be smaller than hidden_size = {hidden_size}, got {proj_size!r}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = dropout
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        rows, place = self.gates * hidden_size, {"device": device, "dtype": dtype}
        width = proj_size or hidden_size
        for layer in range(num_layers):
            columns = input_size if layer == 0 else width * self._directions
            for direction in range(self._directions):
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, columns), "weight_hh": (rows, width)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                if proj_size:
                    shapes |= {"weight_hr": (proj_size, hidden_size)}
                for kind, shape in shapes.items():
                    self.register_parameter(kind + _suffix(layer, direction), new_parameter(*shape, **place))
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _run(self, x: Any, state: State, suffix: str, backwards: bool) -> tuple[list[Any], State]:
        """One direction of one layer: x (L, N, I) to L outputs, in the order of the sequence, and its last state."""
        w_ih, w_hh, b_ih, b_hh, w_hr = (
            self._parameters.get(kind + suffix)
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        )
        steps = F.linear(x, w_ih, b_ih).unbind(0)  # L of (N, G*H)
        outputs = []
        for gx in reversed(steps) if backwards else steps:
            state = self._step(gx, state, w_hh, b_hh)
            if w_hr is not None:
                state = (F.linear(state[0], w_hr), *state[1:])
            outputs.append(state[0])
        return outputs[::-1] if backwards else outputs, state

    def forward(self, input: Any, hx: Any = None) -> Any:
        x, single = self._sequence(input)
        before = self._initial(x, hx, single)
        last: list[State] = []
        for layer in range(self.num_layers):
            sides = []
            for direction in range(self._directions):
                start = tuple(s[len(last)] for s in before)
                outputs, state = self._run(x, start, _suffix(layer, direction), backwards=direction == 1)
                sides.append(stack(outputs))
                last.append(state)
            x = cat(sides, -1) if len(sides) > 1 else sides[0]  # (L, N, D*H)
            if self.dropout and layer + 1 < self.num_layers:
                x = F.dropout(x, self.dropout, self.training)
        after = tuple(stack(parts) for parts in zip(*last))  # each (layers * D, N, H)
        if single:
            x, after = x.squeeze(1), tuple(s.squeeze(1) for s in after)
        elif self.batch_first:
            x = x.transpose(0, 1)
        return x, after if self.states > 1 else after[0]

    def _sequence(self, input: Any) -> tuple[Any, bool]:
        """The input as (L, N, I), and whether it had no batch axis."""
        name = type(self).__name__
        if input.ndim not in (2, 3) or input.shape[-1] != self.input_size:
            order = "(N, L, I)" if self.batch_first else "(L, N, I)"
            raise ValueError(
                f"{name} takes {order} or (L, I) with I = input_size = {self.input_size}, not an input of shape "
                f"{input.shape}"
            )
        single = input.ndim == 2
        x = input.unsqueeze(1) if single else input.transpose(0, 1) if self.batch_first else input
        if x.shape[0] == 0:
            raise ValueError(f"{name}: the sequence in an input of shape {input.shape} is empty")
        return x, single

    def _initial(self, x: Any, hx: Any, single: bool) -> State:
        """The state before the first step, each part (layers * D, N, H)."""
        count, n = self.num_layers * self._directions, x.shape[1]
        widths = [self.proj_size or self.hidden_size, self.hidden_size][: self.states]
        if hx is None:
            return tuple(zeros(count, n, w, dtype=x.dtype, device=x.device) for w in widths)
        given = tuple(hx) if self.states > 1 else (hx,)
        for s, w, letter in zip(given, widths, "hc"):
            wanted = (count, w) if single else (count, n, w)
            if s.shape != wanted:
                raise ValueError(
                    f"{type(self).__name__}: {letter}_0 must have shape {wanted} = (num_layers * directions"
                    f"{'' if single else ', N'}, {w}), not {s.shape}"
                )
        return tuple(s.unsqueeze(1) for s in given) if single else given

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size:
            text += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        for name, usual in (("bias", True), ("batch_first", False), ("dropout", 0.0), ("bidirectional", False)):
            if getattr(self, name) != usual:
                text += f", {name}={getattr(self, name)}"
        return text


def _suffix(layer: int, direction: int) -> str:
    return f"_l{layer}" + ("_reverse" if direction else "")


class RNN(_Elman, _Layers):
    """Elman's network over a sequence; arguments and shapes as :class:`LSTM`, with h alone as the state.

    >>> import minidl
    >>> y, h = minidl.nn.RNN(10, 20, nonlinearity="relu")(minidl.randn(5, 3, 10))
    >>> y.shape, h.shape
    ((5, 3, 20), (1, 3, 20))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )
        self._check_nonlinearity(nonlinearity)


class LSTM(_Lstm, _Layers):
    """Long short-term memory over a sequence: Hochreiter and Schmidhuber 1997; formulas at :class:`LSTMCell`.

    Args:
        input_size, hidden_size: I and H.
        num_layers: each further layer reads the outputs of the one below.
        batch_first: the input and output are (N, L, *) instead of (L, N, *); the states are not.
        dropout: probability between layers, while training.
        bidirectional: a second set of cells reads backwards; outputs are joined, D = 2.
        proj_size: h is projected to this width, 0 for none (Sak et al. 2014).

    Called with x (L, N, I), or (L, I) without a batch, and (h_0, c_0), each (num_layers * D, N, H), by default zeros.
    Gives the outputs (L, N, D*H) and (h_n, c_n).

    Parameters of layer k: ``weight_ih_l{k}`` (4H, I), ``weight_hh_l{k}`` (4H, H), ``bias_ih_l{k}``, ``bias_hh_l{k}``
    (4H,), with ``_reverse`` at the end for the other direction.

    >>> import minidl
    >>> lstm = minidl.nn.LSTM(10, 20, num_layers=2, batch_first=True)
    >>> y, (h, c) = lstm(minidl.randn(3, 5, 10))
    >>> y.shape, h.shape
    ((3, 5, 20), (2, 3, 20))
    """


class GRU(_Gru, _Layers):
    """Gated recurrent units over a sequence: Cho et al. 2014; arguments as :class:`LSTM`, with h alone as the state.

    (L, N, I) -> (L, N, D*H) and h_n (num_layers * D, N, H), where D is 2 if ``bidirectional``.

    >>> import minidl
    >>> y, h = minidl.nn.GRU(10, 20, num_layers=2)(minidl.randn(5, 3, 10))
    >>> y.shape, h.shape
    ((5, 3, 20), (2, 3, 20))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )
