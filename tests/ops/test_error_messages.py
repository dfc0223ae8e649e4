"""Every mistake in tests/ops/errors is answered with the error and the words that stand there."""

import pytest

from tests.ops.errors import convolution, layers, loss, normalization, pooling

ERROR_INPUTS = [
    *convolution.CONVOLUTION, *pooling.POOLING, *normalization.NORMALISATION, *loss.LOSSES, *layers.OTHERS
]  # fmt: skip


@pytest.mark.parametrize("mistake", ERROR_INPUTS, ids=lambda m: m.name.replace(" ", "-"))
def test_error_message(mistake) -> None:
    with pytest.raises(mistake.error) as caught:
        mistake.call()
    assert mistake.says, "the words are missing"
    for words in mistake.says:
        assert words in str(caught.value)
