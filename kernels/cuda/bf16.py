"""Tensor cores with float32 operands rounded to bfloat16, two digits, float32's range; sums and results are float32.

For compute capability 8.0 and later.
"""

from functools import partial

from . import pipelined

forward = partial(pipelined.forward, kind=pipelined.BF16)
input_grad = partial(pipelined.input_grad, kind=pipelined.BF16)
weight_grad = partial(pipelined.weight_grad, kind=pipelined.BF16)
