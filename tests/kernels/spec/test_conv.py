"""The definition of convolution against torch; against plain arithmetic it is held in test_conv_kernels.py."""

import pytest

from minidl.kernels.geometry import Conv
from minidl.kernels.spec import conv as spec
from tests.kernels import convolution_cases as cases


@pytest.mark.torch
@pytest.mark.parametrize("name", cases.CASES)
def test_agrees_with_torch(name) -> None:
    torch = pytest.importorskip("torch")
    conv = cases.CASES[name]
    x, w, g = cases.arrays(conv)
    got, want = cases.by_definition(conv, x, w, g), cases.by_torch(torch, conv, x, w, g)
    for pass_ in got:
        cases.close(got[pass_], want[pass_], pass_)


@pytest.mark.torch
@pytest.mark.parametrize("output_padding", [0, 1])
def test_transposed_convolution_is_the_input_gradient(output_padding) -> None:
    torch = pytest.importorskip("torch")
    conv = Conv.transposed((2, 6, 4, 5), (6, 2, 3, 2), (2, 3), (1, 0), output_padding, None, (1, 2), 3)
    _, w, g = cases.arrays(conv)
    want = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(g), torch.from_numpy(w), None, (2, 3), (1, 0), output_padding, 3, (1, 2)
    )
    cases.close(spec.input_grad(w, g, conv), want.numpy(), conv)
