"""``kernels.cpu.im2col``: agreement, chunks, layouts and the workspace bound."""

import numpy as np
import pytest

from minidl.kernels import layout, workspace
from minidl.kernels.cpu import im2col
from minidl.kernels.geometry import Conv
from tests.kernels import convolution_cases as cases

PASSES = ("forward", "input_grad", "weight_grad")


@pytest.mark.parametrize("name", cases.CASES)
@pytest.mark.parametrize("chunk", [im2col.CHUNK_BYTES, 4000, 1])
def test_agrees_with_the_definition_whatever_the_chunks(name, chunk, monkeypatch) -> None:
    monkeypatch.setattr(im2col, "CHUNK_BYTES", chunk)
    conv = cases.CASES[name]
    x, w, g = cases.arrays(conv)
    want = cases.by_definition(conv, x, w, g)
    for store in (np.asarray, cases.channels_last, cases.gappy):
        for pass_, operands in cases.operands(store(x), w, store(g)).items():
            before = [a.copy() for a in operands]
            out = np.full(want[pass_].shape, np.nan)
            assert getattr(im2col, pass_)(*operands, conv, out=out) is out
            cases.close(out, want[pass_], (pass_, store))
            cases.close(getattr(im2col, pass_)(*operands, conv), want[pass_], (pass_, store))
            for a, b in zip(operands, before):
                np.testing.assert_array_equal(a, b)


def test_rows_of_one_image_are_chunks_of_their_own(monkeypatch) -> None:
    conv = cases.CASES["strides, pads and dilations differ"]
    row = 8 * 4 * 6 * conv.out[1]
    monkeypatch.setattr(im2col, "CHUNK_BYTES", 2 * row)
    chunks = list(im2col._chunks(conv, 8))
    assert [(c.images.start, c.rows.start, c.rows.stop) for c in chunks[:4]] == [
        (0, 0, 2), (0, 2, 4), (0, 4, 6), (0, 6, 7),
    ]  # fmt: skip
    assert im2col.chunk_count(conv, 8) == len(chunks) == 12


@pytest.mark.parametrize("pass_", PASSES)
def test_the_workspace_is_what_the_cost_says(pass_) -> None:
    """12 images of a layer whose columns would take 66 MB borrow less than the bound and a chunk of results."""
    conv = Conv.from_shapes((12, 32, 69, 70), (40, 32, 3, 3), padding=1)
    x, w, g = cases.arrays(conv, "float32")
    workspace.release()
    getattr(im2col, pass_)(*cases.operands(x, w, g)[pass_], conv)
    borrowed = workspace.kept()
    stated = im2col.workspace_bytes(pass_, conv, 4)
    assert 0 < borrowed <= stated + 4 * workspace.ALIGNMENT
    assert stated < 2.5 * im2col.CHUNK_BYTES
    workspace.release()


def test_pointwise_needs_no_workspace() -> None:
    conv = cases.CASES["pointwise"]
    x, w, g = cases.arrays(conv)
    workspace.release()
    for store in (np.asarray, cases.channels_last):
        im2col.forward(store(x), w, conv)
        im2col.input_grad(w, store(g), conv)
    assert workspace.kept() == 0


@pytest.mark.parametrize("name", ["many channels", "pointwise", "strides, pads and dilations differ"])
def test_results_lie_as_inputs_do(name) -> None:
    conv = cases.CASES[name]
    x, w, g = cases.arrays(conv)
    assert layout.channels_last(im2col.forward(cases.channels_last(x), w, conv))
    assert layout.channels_last(im2col.input_grad(w, cases.channels_last(g), conv))
    assert im2col.forward(x, w, conv).flags.c_contiguous
    assert im2col.input_grad(w, g, conv).flags.c_contiguous
    assert im2col.weight_grad(cases.channels_last(x), g, conv).flags.c_contiguous


@pytest.mark.parametrize("name", cases.EMPTY)
def test_empty(name) -> None:
    conv = cases.EMPTY[name]
    x, w, g = cases.arrays(conv)
    shapes = {"forward": conv.y_shape, "input_grad": conv.x_shape, "weight_grad": conv.w_shape}
    for pass_, operands in cases.operands(x, w, g).items():
        got = getattr(im2col, pass_)(*operands, conv, out=np.full(shapes[pass_], np.nan))
        assert got.shape == shapes[pass_] and not got.any()


def test_results_do_not_live_in_the_workspace() -> None:
    conv = cases.CASES["many channels"]
    x, w, g = cases.arrays(conv)
    for pass_, operands in cases.operands(x, w, g).items():
        first = getattr(im2col, pass_)(*operands, conv)
        kept = first.copy()
        getattr(im2col, pass_)(*(2 * a for a in operands), conv)
        np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_other_dtypes(dtype) -> None:
    conv = cases.CASES["strides, pads and dilations differ"]
    x, w, g = (a.astype(dtype) * (1 + 0.5j if dtype == "complex128" else 1) for a in cases.arrays(conv))
    want = cases.by_definition(conv, x, w, g)
    for pass_, operands in cases.operands(x, w, g).items():
        got = getattr(im2col, pass_)(*operands, conv)
        assert got.dtype == np.dtype(dtype)
        np.testing.assert_allclose(got, want[pass_], rtol=2e-4 if dtype == "float32" else 1e-12, atol=1e-4)


@pytest.mark.torch
@pytest.mark.parametrize("name", cases.CASES)
def test_agrees_with_torch(name) -> None:
    torch = pytest.importorskip("torch")
    conv = cases.CASES[name]
    x, w, g = cases.arrays(conv)
    want = cases.by_torch(torch, conv, x, w, g)
    for pass_, operands in cases.operands(x, w, g).items():
        cases.close(getattr(im2col, pass_)(*operands, conv), want[pass_], pass_)
