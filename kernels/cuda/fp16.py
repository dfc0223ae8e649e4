"""Tensor cores with float16 arrays: products are exact, sums float32, each result is rounded once.

For compute capability 8.0 and later; older cards multiply with ``im2col``.
"""

from functools import partial

from . import pipelined

forward = partial(pipelined.forward, kind=pipelined.FP16)
input_grad = partial(pipelined.input_grad, kind=pipelined.FP16)
weight_grad = partial(pipelined.weight_grad, kind=pipelined.FP16)
