"""Every error message is asserted somewhere: an audit of all of them, and the ones that have no better place."""

import ast
import builtins
import copy
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl.backend import CPU, Device, DeviceError, _cupy
from minidl.io import WeightsError, load_npz, load_torch, save_npz, save_torch

ROOT = Path(__file__).parents[1]
z = minidl.zeros


def raised_messages() -> Iterator[tuple[str, list[str]]]:
    """Where an exception with a text is made, and the literal parts of its text."""
    for folder in ("minidl", "kernels", "models"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.relative_to(ROOT).parts[:2] in (("minidl", "kernels"), ("minidl", "models")):
                continue  # links to the other two folders
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
                    continue
                parts = [
                    one_line(part.value)
                    for argument in node.exc.args
                    for part in ast.walk(argument)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str) and one_line(part.value)
                ]
                if parts:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", parts


def one_line(text: str) -> str:
    """Without line breaks, and without the backslashes before brackets and dots in patterns of pytest.raises."""
    return " ".join(re.sub(r"\\(.)", r"\1", text).split()).strip(" :;,.")


def texts_of_tests() -> str:
    """All strings of the tests, each on a line; no comments, no code."""
    return "\n".join(
        one_line(node.value)
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def is_asserted(parts: list[str], tests: str) -> bool:
    """Five words in a row of the longest part, or all of it, stand in a test; a part of a word or two says nothing
    by itself, so then it stands there with all the others."""
    longest = max((part.split() for part in parts), key=len)
    if len(longest) < 3:
        return all(part in tests for part in parts)
    runs = [" ".join(longest[i : i + 5]) for i in range(max(1, len(longest) - 4))]
    return any(run in tests for run in runs)


def test_every_message_is_asserted_somewhere():
    """The longest part of each message stands in some test.  What a test does with it is for its reader."""
    tests = texts_of_tests()
    messages = list(raised_messages())
    assert len(messages) > 700
    assert [place for place, parts in messages if not is_asserted(parts, tests)] == []


@pytest.mark.parametrize(
    "parts, asserted",
    [
        (["the kernel is larger than", "x"], True),
        (["has axes, and the kernel is larger than the input"], True),
        (["the kernel is smaller than the input"], False),
        (["larger than the input", "kernel"], False),  # all of a short part
        (["than the", ", but"], False),  # and the others beside a very short one
        (["than the", "kernel"], True),
    ],
)
def test_the_audit_itself(parts, asserted):
    assert is_asserted(parts, "conv: the kernel is larger than the padded input") is asserted


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: z(3).to("cuda:x"), "unknown device 'cuda:x': write 'cpu', 'cuda' or 'cuda:0'"),
        (lambda: minidl.optim.SGD([]), "got no parameters: was model.parameters() used up already?"),
        (lambda: z(2, 3).flatten(1, 0), "flatten: start_dim 1 comes after end_dim 0"),
        (lambda: z(2, 6).unflatten(1, (4, 2)), "unflatten: axis 1 of length 6 does not split into (4, 2)"),
        (lambda: z(2).mm(z(2, 2)), "mm needs two matrices, got shapes (2,) and (2, 2)"),
        (lambda: z(2, 2).bmm(z(2, 2)), "bmm needs (B, n, m) and (B, m, p), got (2, 2) and (2, 2)"),
        (lambda: z(2, 2).dot(z(2)), "dot needs two vectors, got shapes (2, 2) and (2,)"),
        (lambda: minidl.tensordot(z(2, 3), z(2, 3), 1), "tensordot: the summed axes have lengths [3] and [2]"),
        (lambda: minidl.einsum("ab", z(2)), "operand 0 has shape (2,), which does not fit 'ab'"),
        (lambda: minidl.einsum("ab,b", z(2, 3), z(2)), "letter 'b' is 3 in one operand and 2 in another"),
        (lambda: minidl.einsum("ab->c", z(2, 3)), "the result names letters that no operand has"),
    ],
)
def test_mistakes_with_tensors(call, message):
    with pytest.raises((ValueError, DeviceError), match=re.escape(message)):
        call()


def test_operands_on_two_devices(monkeypatch):
    a, b = z(2), z(2, dtype="float64")
    b.name = "there"
    monkeypatch.setattr(
        minidl.Tensor, "device", property(lambda self: Device("cuda", 0) if self.name == "there" else CPU)
    )
    with pytest.raises(
        DeviceError, match=r"elementwise operation: 'left' \(2,\) is on cpu and 'right' \(2,\) is on cuda:0"
    ):
        a + b


def test_cuda_without_cupy(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "cupy":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    _cupy.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DeviceError, match="CuPy is not installed; `minidl doctor` tells the command"):
        z(2).to("cuda")
    _cupy.cache_clear()


def test_npz_of_objects_and_with_entries_that_overlap(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(TypeError, match=r"holds Python objects; \.npz files here hold numbers"):
        save_npz(path, {"a": np.array([{}])})
    save_npz(path, {"a": np.zeros(1000)})
    with zipfile.ZipFile(path, "a") as archive:
        twin = copy.copy(archive.infolist()[0])
        twin.filename = "b.npy"
        archive.filelist.append(twin)
        archive._didModify = True  # so that the directory is written anew
    with pytest.raises(WeightsError, match="the entries overlap"):
        load_npz(path)


def test_checkpoint_without_its_numbers(tmp_path):
    whole, part = tmp_path / "a.pth", tmp_path / "b.pth"
    save_torch(whole, {"w": np.ones(3, np.float32)})
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(part, "w") as target:
        for member in source.infolist():
            if not member.filename.endswith("data/0"):
                target.writestr(member, source.read(member))
    with pytest.raises(WeightsError, match="the archive has no entry"):
        load_torch(part)


@pytest.mark.parametrize(
    "program, message",
    [
        (b"ctorch\nSize\nK\x01\x85R.", "a malformed torch.Size"),
        (b"ctorch\ndevice\n]\x85R.", "a malformed torch.device"),
        (b"ctorch._tensor\n_rebuild_from_type_v2\nK\x01K\x02K\x03\x87R.", "a malformed tensor"),
        (b"cnumpy\ndtype\nX\x02\0\0\0f4\x85R]b.", "a malformed dtype"),
    ],
)
def test_malformed_values_in_a_checkpoint(tmp_path, program, message):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + program)
        archive.writestr("archive/version", b"3\n")
    with pytest.raises(WeightsError, match=re.escape(message)):
        load_torch(path)


@pytest.mark.parametrize(
    "folder, message",
    [("kernels", "import minidl.kernels, not kernels"), ("models", "import minidl.models, not models")],
)
def test_floors_are_not_packages_of_their_own(folder, message):
    source = (ROOT / folder / "__init__.py").read_text(encoding="utf-8")
    with pytest.raises(ImportError, match=re.escape(message)):
        exec(compile(source, folder, "exec"), {"__name__": folder})
