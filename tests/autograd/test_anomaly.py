"""The first operation that makes a NaN or an infinity is named, with the place and the operands."""

import numpy as np
import pytest

import minidl
from minidl import tensor
from minidl.autograd import AnomalyError, detect_anomaly

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def test_forward():
    x = tensor([[1.0, 4.0], [-1.0, 9.0]])
    with (
        pytest.raises(
            AnomalyError,
            match=r"'sqrt' produced nan at \[1, 0\] of result, shape \(2, 2\): its argument x is -1.0 there",
        ) as e,
        detect_anomaly(),
    ):
        (x * 1).sqrt().exp()
    assert e.value.op == "sqrt" and e.value.index == (1, 0)


def test_the_first_operation_is_named_not_a_later_one():
    with (
        pytest.raises(
            AnomalyError, match=r"'div' produced inf at \[1\] .* argument a is 2.0 there, its argument b is 0.0 there"
        ),
        detect_anomaly(),
    ):
        a = tensor([[1.0, 2.0]])[0]
        (a / tensor([1.0, 0.0])).exp().log().sum()


def test_broadcast_operands_are_looked_up():
    with (
        pytest.raises(AnomalyError, match=r"at \[0, 2\] .* a is 1.0 there, its argument b is 0.0 there"),
        detect_anomaly(),
    ):
        tensor([[1.0], [5.0]]) / tensor([1.0, 2.0, 0.0])


def test_reductions_say_what_they_were_given():
    x = tensor([[1.0, float("nan")], [3.0, 4.0]])
    with (
        pytest.raises(
            AnomalyError,
            match=r"'sum' produced nan at \[0\] .* argument x \(shape \(2, 2\)\) holds nan already, at \[0, 1\]",
        ),
        detect_anomaly(),
    ):
        x.sum(1)
    big = tensor([[3e38, 3e38]])
    with (
        pytest.raises(AnomalyError, match=r"'sum' produced inf .* \(shape \(1, 2\)\) lies between 3.*e\+38 and"),
        detect_anomaly(),
    ):
        big.sum()


def test_backward_names_the_operation_and_its_line():
    x = tensor([4.0, 0.0], requires_grad=True)
    with (
        pytest.raises(
            AnomalyError,
            match=r"in the backward pass of 'sqrt' \(called at test_anomaly.py, line \d+\): 'div'",
        ),
        detect_anomaly(),
    ):
        x.sqrt().sum().backward()


def test_infinities_on_purpose():
    mask = tensor([0.0, float("-inf")])
    with detect_anomaly(check_inf=False):
        p = minidl.softmax(tensor([1.0, 2.0]) + mask, 0)
    assert p.tolist() == [1, 0]
    with pytest.raises(AnomalyError, match="'sub' produced nan"), detect_anomaly(check_inf=False):
        mask - mask
    with detect_anomaly(check_nan=False, check_inf=True):
        minidl.sqrt(tensor([-1.0]))


def test_silent_when_all_is_well_and_gone_afterwards():
    x = tensor([1.0, 2.0], requires_grad=True)
    with detect_anomaly():
        (x.log() * x).sum().backward()
        assert x.argmax().item() == 1
    assert np.isneginf(minidl.log(tensor(0.0)).item())


def test_under_no_grad():
    with pytest.raises(AnomalyError, match="'log' produced -inf"), detect_anomaly(), minidl.no_grad():
        minidl.log(tensor([0.0]))
