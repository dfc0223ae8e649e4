"""Mistakes with tensors are answered in minidl's words, never in those of NumPy or Python below it."""

import numpy as np
import pytest

import minidl
from minidl.nn import functional as F

z, t = minidl.zeros, minidl.tensor
i8 = minidl.tensor([1], dtype="int8")
KINDS = "an index is made of whole numbers, slices, ..., None, and tensors or lists of whole numbers or booleans, not "


def write(x, index, value):
    x[index] = value


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: minidl.arange(0, 5, 0), ValueError, "arange: steps of 0 do not lead from 0 to 5"),
        (lambda: z(2, -3), ValueError, "zeros: a shape has no negative length, as in (2, -3)"),
        (lambda: minidl.empty("ab"), TypeError, "lengths, axes and counts are whole numbers, not 'ab'"),
        (lambda: minidl.rand(2.5), TypeError, "lengths, axes and counts are whole numbers, not 2.5"),
        (lambda: z(2).reshape([1, "2"]), TypeError, "lengths, axes and counts are whole numbers, not '2'"),
        (lambda: minidl.randn((2, -1)), ValueError, "randn: a shape has no negative length, as in (2, -1)"),
        (lambda: minidl.randperm(-2), ValueError, "randperm: a shape has no negative length, as in (-2,)"),
        (lambda: minidl.eye(-1), ValueError, "eye: a shape has no negative length, as in (-1, -1)"),
        (lambda: minidl.randint(5, 2, (3,)), ValueError, "randint: there is no whole number from 5 up to, not"),
        (lambda: minidl.linspace(0, 1, -2), ValueError, "linspace: the number of steps is at least 0, not -2"),
        (lambda: minidl.full((2,), "a"), TypeError, "full: a tensor is filled with a number, not 'a'"),
        (lambda: minidl.bernoulli(t([0.5, 2.0])), ValueError, "bernoulli: probabilities lie between 0 and 1, not 0.5"),
        (lambda: t([300], dtype="int8"), OverflowError, "tensor: not all of these numbers fit into int8 (-128"),
        (lambda: t([2**70], "int64"), OverflowError, "tensor: not all of these numbers fit into int64 (-922"),
        (lambda: z(3).chunk(0), ValueError, "chunk: there must be a piece at least, not 0"),
        (lambda: z(2, 3).repeat(-1, 2), ValueError, "repeat: (-1, 2) has a negative number of times"),
        (lambda: z(2, 3).tile(-1), ValueError, "repeat: (1, -1) has a negative number of times"),
        (lambda: z(3).roll("a"), TypeError, "lengths, axes and counts are whole numbers, not 'a'"),
        (lambda: z(3).tril(), ValueError, "tril: a tensor of shape (3,) holds no matrix, which takes two axes"),
        (lambda: t(3.0).triu(), ValueError, "triu: a tensor of shape () holds no matrix, which takes two axes"),
        (lambda: minidl.diag(z(2, 2, 2)), ValueError, "diag takes a vector or a matrix, not (2, 2, 2); diagonal()"),
        (lambda: t(3).nonzero(), ValueError, "nonzero: a tensor without axes has no indices; give it one with"),
        (lambda: z(2, 3, 4).expand(-1, 3), ValueError, "expand: (-1, 3) has fewer axes than the tensor's shape"),
        (
            lambda: z(3).expand(-1, 3),
            ValueError,
            "expand: (-1, 3) has -1 for a new axis; it keeps a length that (3,) has",
        ),
        (lambda: -t([True]), TypeError, "-x of booleans has no meaning: write ~x for not x, or -x.to('int64')"),
        (
            lambda: t([True]) - t([True]),
            TypeError,
            "x - y of booleans has no meaning: write x ^ y for where they differ, or x.to('int64') - y",
        ),
        (lambda: t([1, 2]) ** -1, ValueError, "pow: whole numbers have no negative powers among them: use floating"),
        (lambda: t([1, 2]) ** t([3, -1]), ValueError, "pow: whole numbers have no negative powers among them"),
        (
            lambda: i8 + 300,
            OverflowError,
            "300 does not fit into int8 (-128 to 127), the dtype of the tensor beside it: widen that first, as with "
            "x.to('int64')",
        ),
        (lambda: -129 * i8, OverflowError, "-129 does not fit into int8 (-128 to 127)"),
        (
            lambda: write(z(2, 3), 0, z(2)),
            ValueError,
            "values of shape (2,) do not fit the place of shape (3,) that they are written to: lined up at their "
            "last axes, each length must be 1 or the place's",
        ),
        (lambda: write(z(4, 3), [0, 1], z(3, 3)), ValueError, "values of shape (3, 3) do not fit the place of shape"),
        (lambda: write(z(4, 3).requires_grad_() * 1, 0, z(2)), ValueError, "values of shape (2,) do not fit the place"),
        (lambda: write(z(3), 0, [1.0, 2.0]), ValueError, "values of shape (2,) do not fit the place of shape ()"),
        (
            lambda: minidl.solve(z(2, 2), z(2)),
            np.linalg.LinAlgError,
            "solve: a matrix of shape (2, 2) is singular: its rows are not independent, so no X, or no single one, "
            "fits",
        ),
        (
            lambda: z(5, 2, 2).inverse(),
            np.linalg.LinAlgError,
            "inv: a matrix of shape (5, 2, 2) is singular: its rows are not independent, so it has no inverse",
        ),
        (
            lambda: minidl.cholesky(z(2, 2)),
            np.linalg.LinAlgError,
            "cholesky: a matrix of shape (2, 2) is not positive definite, so it has no factor; is it symmetric?",
        ),
        (lambda: minidl.manual_seed(-1), ValueError, "a seed is a whole number >= 0, got -1; write for example seed=0"),
        (lambda: minidl.Generator("x"), ValueError, "a seed is a whole number >= 0, got 'x'; write for example seed=0"),
        (
            lambda: t([1], dtype="foo"),
            TypeError,
            "there is no dtype 'foo': float16, float32, float64, int8 to int64, uint8 and bool are some",
        ),
        (lambda: z(3)[5], IndexError, "index 5 on axis 0 of length 3 (-3 to 2), in a tensor of shape (3,)"),
        (lambda: z(2, 3)[0, -4], IndexError, "index -4 on axis 1 of length 3 (-3 to 2), in a tensor of shape (2, 3)"),
        (lambda: z(2, 3)[..., 3], IndexError, "index 3 on axis 1 of length 3 (-3 to 2), in a tensor of shape (2, 3)"),
        (lambda: z(0)[0], IndexError, "index 0 on axis 0 of length 0, in a tensor of shape (0,)"),
        (lambda: z(2, 3)[:, t([0, 3])], IndexError, "index 3 on axis 1 of length 3 (-3 to 2)"),
        (lambda: z(2, 3)[t([[True, True, False]] * 2), 0], IndexError, "an index for 3 axes, in a tensor of shape"),
        (lambda: z(3)["a"], IndexError, KINDS + "'a', in a tensor of shape (3,)"),
        (lambda: z(3)[1.5], IndexError, KINDS + "1.5, in a tensor of shape (3,)"),
        (lambda: z(3)[0, 0], IndexError, "an index for 2 axes, in a tensor of shape (3,)"),
        (lambda: z(3)[..., ...], IndexError, "an index may hold one ..., this one holds 2, in a tensor"),
        (lambda: z(3)[t([True, False])], IndexError, "a mask of shape (2,) on axes of lengths (3,), in a tensor"),
        (lambda: z(3)[::0], IndexError, "a slice with steps of 0 never gets on, in a tensor of shape (3,)"),
        (lambda: z(3)[1.5:], IndexError, "a slice is made of whole numbers, not 1.5::, in a tensor of shape (3,)"),
        (
            lambda: z(3, 3)[[0, 1], [0, 1, 2]],
            IndexError,
            "index arrays of shapes (2,), (3,) do not go together, in a tensor of shape (3, 3)",
        ),
        (lambda: z(3, 3)[[0, [1]]], IndexError, "lists in an index must have one length at each depth, not [0, [1]]"),
        (lambda: write(z(3), 5, 1), IndexError, "index 5 on axis 0 of length 3 (-3 to 2), in a tensor of shape (3,)"),
        (lambda: write(z(3), t([5]), 1), IndexError, "index 5 on axis 0 of length 3 (-3 to 2)"),
        (lambda: write(z(3), "a", z(1)), IndexError, KINDS + "'a', in a tensor of shape (3,)"),
        (
            lambda: minidl.optim.SGD([z(2)]).load_state_dict({}),
            ValueError,
            "not the state of an optimiser: state, param_groups missing; state_dict() gives one",
        ),
        (
            lambda: minidl.optim.SGD([z(2)]).load_state_dict({"state": {}, "param_groups": [{}]}),
            ValueError,
            "a group of the saved optimiser does not name its params",
        ),
        (lambda: z(0).max(), ValueError, "max() of no elements: shape (0,) is empty along dim (0,)"),
        (lambda: z(2, 0).min(1), ValueError, "min() of no elements: shape (2, 0) is empty along dim (1,)"),
        (lambda: z(0).amax(), ValueError, "amax() of no elements: shape (0,) is empty along dim (0,)"),
        (
            lambda: F.conv2d(z(1, 1, 5, 5), z(1, 1, 3, 3), stride=1.5),
            ValueError,
            "conv2d: stride must be made of integers, got 1.5",
        ),
        (
            lambda: F.max_pool2d(z(1, 1, 5, 5), 2.5),
            ValueError,
            "max_pool2d: kernel_size must be made of integers, got 2.5",
        ),
    ],
)
def test_mistakes(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(message)


def test_what_is_no_mistake():
    assert (i8 < 300).item() and not (i8 == 300).item()  # comparisons take any number
    assert i8.clamp(0, 300).item() == 1
    x = z(2, 3)
    x[:, 1:] = t([[1.0], [2.0]])
    x[t([True, False])] = t([[[5.0, 6.0, 7.0]]])
    assert x.tolist() == [[5.0, 6.0, 7.0], [0.0, 2.0, 2.0]]
    assert (t([2, 3]) ** t([0, 2])).tolist() == [1, 9] and (t([2.0]) ** -1).item() == 0.5
