"""Tensor cores with operands in TF32, three digits; for compute capability 8.0 and later."""

from functools import partial

from . import pipelined

forward = partial(pipelined.forward, kind=pipelined.TF32)
input_grad = partial(pipelined.input_grad, kind=pipelined.TF32)
weight_grad = partial(pipelined.weight_grad, kind=pipelined.TF32)
