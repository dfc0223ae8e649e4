"""Normalisation layers.  What each computes stands at the function of ``nn.functional`` that it calls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from ..backend import on
from ..kernels.errors import ShapeError
from ..ops import ones, zeros
from ..ops.conv import Statistics
from ..ops.normalization import batch_norm_relu
from ..tensor import Tensor
from . import functional as F
from . import init
from .conv import _Conv
from .hooks import say_where
from .linear import new_parameter, positive
from .module import Module, Registered, is_watched


class _Norm(Module):
    """An eps and, where ``affine``, a weight that begins as ones and a bias that begins as zeros."""

    eps: Any  # a number; None, where RMSNorm leaves it to the dtype
    weight: Any = Registered("_parameters")
    bias: Any = Registered("_parameters")

    def _set_up(
        self, shape: tuple[int, ...], eps: float | None, weight: bool, bias: bool, device: Any, dtype: Any
    ) -> None:
        if eps is not None and not eps >= 0:
            raise ValueError(f"{type(self).__name__}: eps must not be negative, got {eps!r}")
        self.eps = eps
        self.register_parameter("weight", new_parameter(*shape, device=device, dtype=dtype) if weight else None)
        self.register_parameter("bias", new_parameter(*shape, device=device, dtype=dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1 and bias 0, as at the beginning."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


def _count(batches: Any) -> None:
    """One batch more.  On the array: it is no operation of the network, and a hundred layers do it in each step."""
    with on(batches.device):
        array = batches._array
        array += 1
    batches._storage.version += 1


def _check_channels(layer: Module, made_for: int, shape: tuple[int, ...], channels: int) -> None:
    if channels != made_for:
        hint = ": it looks channels-last, try input.movedim(-1, 1)" if len(shape) > 2 and shape[-1] == made_for else ""
        raise ShapeError(
            f"{type(layer).__name__} was made for {made_for} channels, but the input {shape} has {channels}{hint}"
        )


class _RunningNorm(_Norm):
    """A norm over channels that may keep running statistics for evaluation."""

    _optional_state = ("num_batches_tracked",)  # state dicts of before PyTorch 0.4.1 lack it
    dims: ClassVar[tuple[int, ...]]  # numbers of axes that the input may have
    running_mean: Any = Registered("_buffers")
    running_var: Any = Registered("_buffers")
    num_batches_tracked: Any = Registered("_buffers")

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        device: Any,
        dtype: Any,
        bias: bool,
    ) -> None:
        super().__init__()
        positive(type(self).__name__, num_features=num_features)
        if momentum is not None and not 0 <= momentum <= 1:
            raise ValueError(
                f"{type(self).__name__}: momentum is the weight of the newest batch, between 0 and 1 (or None for the "
                f"plain "
                f"mean of all), got {momentum!r}"
            )
        self.num_features = num_features
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        place = {"device": device or "cpu", "dtype": dtype}
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(num_features, **place) if tracked else None)
        self.register_buffer("running_var", ones(num_features, **place) if tracked else None)
        self.register_buffer(
            "num_batches_tracked", zeros((), dtype="int64", device=device or "cpu") if tracked else None
        )
        self._set_up((num_features,), eps, affine, affine and bias, device, dtype)

    def reset_running_stats(self) -> None:
        """Mean 0, variance 1, no batches, as at the beginning."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def _check_input(self, input: Any) -> None:
        if input.ndim not in self.dims:
            wanted = " or ".join(str(d) for d in self.dims)
            raise ValueError(
                f"{type(self).__name__} takes inputs of {wanted} axes (N, C, ...), not of shape {input.shape}"
            )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_RunningNorm):
    """Batch normalisation.  Settings as in :class:`BatchNorm2d`."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, input: Any) -> Any:
        return F.batch_norm(input, *self._arguments(input))

    def then_relu(
        self, input: Any, residual: Any = None, ceiling: float = math.inf, *, behind: Module | None = None
    ) -> Any:
        """``relu(self(behind(input)) + residual)`` in the passes over memory that the layer alone takes, where a kernel
        can; in evaluation behind a convolution without biases in those that the convolution takes.

        >>> import minidl
        >>> norm = minidl.nn.BatchNorm1d(1, eps=0.0)
        >>> norm.then_relu(minidl.tensor([[1.0], [3.0]]), minidl.tensor([[5.0], [0.0]])).detach()
        tensor([[4.],
                [1.]])
        """
        if is_watched(self) or type(self).forward is not _BatchNorm.forward:
            return super().then_relu(input, residual, ceiling, behind=behind)
        if behind is not None:
            y = self.along_with(behind, input, residual, ceiling)
            if y is not None:
                return y
            input = behind(input)
        try:
            return batch_norm_relu(input, residual, ceiling, *self._arguments(input))
        except Exception as error:  # as where the module is called
            say_where(error, self)
            raise

    def along_with(self, conv: Module, input: Any, residual: Any = None, ceiling: float | None = None) -> Tensor | None:
        """``relu(self(conv(input)) + residual)`` in one step, without ReLU if ``ceiling`` is None; else None.

        One step it is in evaluation, where nobody asks for gradients or watches, behind a convolution without biases.
        """
        if self.training or is_watched(self) or not isinstance(conv, _Conv):
            return None
        mean = self.running_mean
        if mean is None or conv.bias is not None or not conv.finishes(input, residual):
            return None
        if type(self).forward is not _BatchNorm.forward or not self._fits_behind(conv):
            return None
        norm = Statistics(mean, self.running_var, self.weight, self.bias, self.eps)
        return conv.finish(input, norm, residual, ceiling)

    def _fits_behind(self, conv: _Conv) -> bool:
        """Whether the layer takes what the convolution gives; where it does not, it says why when it is called."""
        shape, dtype, variance = (conv.out_channels,), conv.weight.dtype, self.running_var
        if shape[0] != self.num_features or conv.ndim + 2 not in self.dims or variance is None:
            return False
        if not self.running_mean.shape == variance.shape == shape:
            return False
        return all(v is None or (v.shape == shape and v.dtype == dtype) for v in (self.weight, self.bias))

    def _arguments(self, input: Any) -> tuple[Any, ...]:
        """What ``F.batch_norm`` takes beside the input, which is counted."""
        self._check_input(input)
        _check_channels(self, self.num_features, input.shape, input.shape[1])
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats:
            _count(self.num_batches_tracked)
            if self.momentum is None:  # the plain mean of all batches so far
                momentum = 1.0 / self.num_batches_tracked.item()
        use_batch = self.training or self.running_mean is None
        return self.running_mean, self.running_var, self.weight, self.bias, use_batch, momentum, self.eps


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L); settings as :class:`BatchNorm2d`.

    >>> import minidl
    >>> minidl.nn.BatchNorm1d(2)(minidl.tensor([[1.0, 10.0], [3.0, 30.0]])).detach()
    tensor([[-1., -1.],
            [ 1.,  1.]])
    """

    dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, C, H, W): Ioffe and Szegedy 2015.

    In training each channel is normalised with the mean and variance of the batch, and the running statistics move
    towards them: ``running = (1 - momentum) * running + momentum * batch`` (``momentum=None``: the mean of all
    batches).  In evaluation the running statistics are used.  Then ``weight`` scales and ``bias`` shifts each
    channel.

    State: ``weight``, ``bias``, ``running_mean``, ``running_var`` (C,), ``num_batches_tracked`` (int64).

    >>> import minidl
    >>> norm = minidl.nn.BatchNorm2d(3)
    >>> y = norm(minidl.randn(8, 3, 4, 5) * 7 + 2)
    >>> bool((y.mean((0, 2, 3)).abs() < 1e-5).all())
    True
    >>> norm.num_batches_tracked
    tensor(1)
    """

    dims = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (N, C, D, H, W); settings as :class:`BatchNorm2d`.

    >>> import minidl
    >>> minidl.nn.BatchNorm3d(4)(minidl.randn(2, 4, 3, 5, 5)).shape
    (2, 4, 3, 5, 5)
    """

    dims = (5,)


class _InstanceNorm(_RunningNorm):
    """Instance normalisation.  Settings as in :class:`InstanceNorm2d`."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, input: Any) -> Any:
        self._check_input(input)
        single = input.ndim == self.dims[0]
        x = input.unsqueeze(0) if single else input
        _check_channels(self, self.num_features, input.shape, x.shape[1])
        use_input = self.training or not self.track_running_stats
        momentum = 0.0 if self.momentum is None else self.momentum
        y = F.instance_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, use_input, momentum, self.eps
        )
        return y.squeeze(0) if single else y


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of (N, C, L) or (C, L); settings as :class:`InstanceNorm2d`.

    >>> import minidl
    >>> minidl.nn.InstanceNorm1d(2)(minidl.tensor([[[1.0, 3.0], [10.0, 30.0]]]))
    tensor([[[-1.,  1.],
             [-1.,  1.]]])
    """

    dims = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Each channel of each image normalised by itself, (N, C, H, W) or (C, H, W): Ulyanov et al. 2016.

    As in PyTorch there are neither parameters (``affine=False``) nor running statistics unless asked for.

    >>> import minidl
    >>> y = minidl.nn.InstanceNorm2d(3)(minidl.randn(2, 3, 4, 5))
    >>> bool((y.mean((2, 3)).abs() < 1e-5).all())
    True
    """

    dims = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of (N, C, D, H, W) or (C, D, H, W); settings as :class:`InstanceNorm2d`.

    >>> import minidl
    >>> minidl.nn.InstanceNorm3d(4)(minidl.randn(2, 4, 3, 5, 5)).shape
    (2, 4, 3, 5, 5)
    """

    dims = (4, 5)


def _shape(layer: str, normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(normalized_shape) if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
    if not sizes:
        raise ValueError(f"{layer}: normalized_shape names the last axes of the input, it must not be empty")
    for axis, n in enumerate(sizes):
        positive(layer, **{f"normalized_shape[{axis}]": n})
    return sizes


class LayerNorm(_Norm):
    """Each sample normalised over its last axes, which have ``normalized_shape``: Ba, Kiros and Hinton 2016.

    Parameters: ``weight`` and ``bias``, of ``normalized_shape``.

    >>> import minidl
    >>> minidl.nn.LayerNorm([4, 5])(minidl.randn(2, 3, 4, 5)).shape
    (2, 3, 4, 5)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape("LayerNorm", normalized_shape)
        self.elementwise_affine = elementwise_affine
        self._set_up(self.normalized_shape, eps, elementwise_affine, elementwise_affine and bias, device, dtype)

    def forward(self, input: Any) -> Any:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(_Norm):
    """``x / sqrt(mean(x^2) + eps)`` over the last axes, times ``weight``: Zhang and Sennrich 2019.

    >>> import minidl
    >>> minidl.nn.RMSNorm(2, eps=0.0)(minidl.tensor([3.0, 4.0]))
    tensor([0.8485, 1.1314], grad_fn=<mul>)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape("RMSNorm", normalized_shape)
        self.elementwise_affine = elementwise_affine
        self._set_up(self.normalized_shape, eps, elementwise_affine, False, device, dtype)

    def forward(self, input: Any) -> Any:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_Norm):
    """Each sample normalised over groups of neighbouring channels, (N, C, *): Wu and He 2018.

    >>> import minidl
    >>> minidl.nn.GroupNorm(3, 6)(minidl.randn(2, 6, 4, 5)).shape
    (2, 6, 4, 5)
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        positive("GroupNorm", num_groups=num_groups, num_channels=num_channels)
        if num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: num_groups = {num_groups} must divide num_channels = {num_channels}, but {num_channels} / "
                f"{num_groups} = {num_channels / num_groups:g}"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.affine = affine
        self._set_up((num_channels,), eps, affine, affine and bias, device, dtype)

    def forward(self, input: Any) -> Any:
        if input.ndim > 1:
            _check_channels(self, self.num_channels, input.shape, input.shape[1])
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        sizes = f"{self.num_groups}, {self.num_channels}"
        return f"{sizes}, eps={self.eps}, affine={self.affine}, bias={self.bias is not None}"


class LocalResponseNorm(Module):
    """Divides by a power of the energy of ``size`` neighbouring channels: Krizhevsky et al. 2012, section 3.3.

    ``average=True`` (PyTorch, Caffe) takes the mean of the squares over the window, ``average=False`` their sum, as
    the paper writes it; the paper's alpha of 1e-4 with n = 5 is therefore 5e-4 here unless ``average=False``.

    >>> import minidl
    >>> minidl.nn.LocalResponseNorm(5, k=2.0)(minidl.randn(2, 8, 3, 3)).shape
    (2, 8, 3, 3)
    """

    def __init__(
        self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, *, average: bool = True
    ) -> None:
        super().__init__()
        positive("LocalResponseNorm", size=size)
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k
        self.average = average

    def forward(self, input: Any) -> Any:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k, self.average)

    def extra_repr(self) -> str:
        text = f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
        return text if self.average else text + ", average=False"
