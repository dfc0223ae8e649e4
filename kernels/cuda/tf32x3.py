"""``implicit_gemm`` on tensor cores with each operand as the sum of two TF32 numbers: nearly float32's accuracy.

For compute capability 8.0 and later.  Source: Ootomo and Yokota 2022, "Recovering single precision accuracy from Tensor
Cores while surpassing the FP32 theoretical peak performance", section 3 (without its correction of the sums' rounding).
"""

from functools import partial

from . import implicit_gemm

forward = partial(implicit_gemm.forward, terms=3)
input_grad = partial(implicit_gemm.input_grad, terms=3)
weight_grad = partial(implicit_gemm.weight_grad, terms=3)
