"""The differentiable convolution keeps every promise of tests.checks.conv_op."""

import pytest

from tests.checks import conv_op


@pytest.mark.parametrize("check", conv_op.CHECKS, ids=lambda c: c.__name__)
def test_conv_op(check) -> None:
    check()


def test_conv_op_in_float32() -> None:
    conv_op.convolution("float32")
    conv_op.transposed("float32")
