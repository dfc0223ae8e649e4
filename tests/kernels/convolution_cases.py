"""What tests of single convolution kernels share: problems, the definition, and torch as a second opinion."""

import numpy as np

from minidl.kernels.geometry import Conv
from minidl.kernels.spec import conv as spec

CASES = {
    "strides, pads and dilations differ": Conv.from_shapes(
        (3, 4, 11, 9), (6, 2, 3, 2), (2, 1), ((1, 3), (0, 2)), (1, 2), groups=2
    ),
    "stride above kernel": Conv.from_shapes((2, 3, 11, 8), (5, 3, 2, 1), (3, 4), ((0, 1), (2, 0))),
    "stride and dilation share a factor": Conv.from_shapes((2, 3, 14, 13), (4, 3, 3, 4), (4, 6), (3, 2), (2, 4 - 1)),
    "pointwise": Conv.from_shapes((3, 5, 4, 6), (7, 5, 1, 1)),
    "pointwise with groups": Conv.from_shapes((3, 6, 4, 5), (4, 3, 1, 1), groups=2),
    "pointwise with stride": Conv.from_shapes((3, 5, 5, 6), (7, 5, 1, 1), (2, 3)),
    "pointwise with padding": Conv.from_shapes((2, 3, 3, 4), (4, 3, 1, 1), 1, (1, 2)),
    "kernel as large as x": Conv.from_shapes((4, 3, 5, 7), (6, 3, 5, 7)),
    "mostly padding": Conv.from_shapes((2, 3, 2, 3), (4, 3, 2, 3), 1, ((5, 4), (3, 7))),
    "depthwise": Conv.from_shapes((2, 6, 9, 7), (6, 1, 3, 5), (1, 2), (1, 2), groups=6),
    "depthwise, two filters each": Conv.from_shapes((2, 3, 9, 7), (6, 1, 3, 3), 1, 1, groups=3),
    "many channels": Conv.from_shapes((3, 17, 6, 5), (19, 17, 3, 3), 1, 1),
    "one axis": Conv.from_shapes((3, 4, 23), (6, 2, 5), 3, ((2, 1),), 2, groups=2),
    "three axes": Conv.from_shapes((2, 3, 5, 6, 7), (4, 3, 2, 3, 1), (2, 1, 2), ((1, 0), (0, 2), (1, 1)), (2, 1, 1)),
}

EMPTY = {
    "no images": Conv.from_shapes((0, 4, 9, 8), (6, 2, 3, 2), 2, 1, groups=2),
    "no filters": Conv.from_shapes((2, 4, 9, 8), (0, 4, 3, 2)),
    "no channels": Conv.from_shapes((2, 0, 9, 8), (3, 0, 3, 2)),
}


def arrays(conv: Conv, dtype: str = "float64") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random x, w and cotangent g."""
    rng = np.random.default_rng(5)
    x, w, g = (rng.standard_normal(s).astype(dtype) for s in (conv.x_shape, conv.w_shape, conv.y_shape))
    return x, w, g


def by_definition(conv: Conv, x: np.ndarray, w: np.ndarray, g: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "forward": spec.forward(x, w, conv),
        "input_grad": spec.input_grad(w, g, conv),
        "weight_grad": spec.weight_grad(x, g, conv),
    }


def operands(x: np.ndarray, w: np.ndarray, g: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {"forward": (x, w), "input_grad": (w, g), "weight_grad": (x, g)}


def by_torch(torch, conv: Conv, x: np.ndarray, w: np.ndarray, g: np.ndarray) -> dict[str, np.ndarray]:
    tx, tw = torch.from_numpy(x).requires_grad_(), torch.from_numpy(w).requires_grad_()
    around = [p for pair in reversed(conv.padding) for p in pair]
    op = getattr(torch.nn.functional, f"conv{conv.ndim}d")
    y = op(torch.nn.functional.pad(tx, around), tw, None, conv.stride, 0, conv.dilation, conv.groups)
    y.backward(torch.from_numpy(g))
    return {"forward": y.detach().numpy(), "input_grad": tx.grad.numpy(), "weight_grad": tw.grad.numpy()}


def channels_last(a: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)


def gappy(a: np.ndarray) -> np.ndarray:
    """The same numbers in every second element, backwards along the last axis."""
    wide = np.full((*a.shape[:-1], 2 * a.shape[-1]), np.nan, a.dtype)
    view = wide[..., ::-2]
    view[...] = a
    return view


def close(got: np.ndarray, want: np.ndarray, what: object) -> None:
    tolerance = 1e-10 if want.dtype == np.float64 else 1e-3
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance, err_msg=str(what))
