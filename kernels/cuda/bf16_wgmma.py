"""``bf16`` with tensor cores that read shared memory themselves, on compute capability 9.0; not the weight gradient."""

from functools import partial

from . import pipelined

forward = partial(pipelined.forward, kind=pipelined.BF16_WGMMA)
input_grad = partial(pipelined.input_grad, kind=pipelined.BF16_WGMMA)
