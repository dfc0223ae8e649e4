"""Tensor cores with each operand as the sum of two TF32 numbers: nearly float32's accuracy.

For compute capability 8.0 and later; older cards compute with ``implicit_gemm``.

Source: Ootomo and Yokota 2022, "Recovering single precision accuracy from Tensor Cores while surpassing the FP32
theoretical peak performance", section 3 (without its correction of the sums' rounding).
"""

from functools import partial

from . import pipelined

forward = partial(pipelined.forward, kind=pipelined.TF32X3)
input_grad = partial(pipelined.input_grad, kind=pipelined.TF32X3)
weight_grad = partial(pipelined.weight_grad, kind=pipelined.TF32X3)
