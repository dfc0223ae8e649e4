import os
import pickle
import re
import struct

import numpy as np
import pytest

from minidl.data import DataError, load_data_pickle
from tests.data.cifar_files import python2_batch, random_images


@pytest.mark.parametrize("protocol", [0, 2, 3, 4])
def test_plain_data_of_python_3(protocol):
    value = {"a": [1, -300, 2**40, 2.5, True, None], "b": ("x", (1, 2), (1, 2, 3)), "empty": [{}, (), []]}
    assert load_data_pickle(pickle.dumps(value, protocol), "f") == value


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("dtype", ["u1", "i8", ">i4", "f4", "?"])
def test_arrays_and_bytes(protocol, dtype):
    array = np.arange(6).astype(dtype).reshape(2, 3)
    value = {b"data": array, b"fortran": np.asfortranarray(array), "raw": bytes(range(256))}
    back = load_data_pickle(pickle.dumps(value, protocol), "f")
    np.testing.assert_array_equal(back[b"data"], array)
    np.testing.assert_array_equal(back[b"fortran"], array)
    assert back["raw"] == bytes(range(256))


def test_python_2_agrees_with_pickle_itself():
    data = python2_batch(random_images(3), {"labels": [1, 2, 300]})
    ours, theirs = load_data_pickle(data, "f"), pickle.loads(data, encoding="bytes")
    np.testing.assert_array_equal(ours[b"data"], theirs[b"data"])
    assert ours[b"labels"] == theirs[b"labels"] == [1, 2, 300]
    assert ours[b"batch_label"] == b"training batch 1 of 5"


class Evil:
    def __reduce__(self):
        return os.mkdir, ("never-made",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_is_run(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps({"labels": [Evil()]}, protocol)
    with pytest.raises(DataError, match=r"it asks for (posix|nt)\.mkdir, which no data file needs; nothing was run"):
        load_data_pickle(data, "batch")
    assert not list(tmp_path.iterdir())
    pickle.loads(data)  # the same bytes, read by pickle, do run
    assert [p.name for p in tmp_path.iterdir()] == ["never-made"]


OBJECTS = np.array([{"a": 1}], object)
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pickle.dumps(OBJECTS, 2), "an array of dtype 'O8'; only bool, int, uint and float are read"),
        (b"\x80\x02cnumpy\nndarray\n)\x81.", "opcode 0x81, which plain data does not need"),
        (pickle.dumps({1, 2}, 4), "opcode 0x8f, which plain data does not need"),
        (b"\x80\x02cbuiltins\neval\nU\x031+1\x85R.", "it asks for builtins.eval"),
        (b"\x80\x02cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85\x85R.", "numpy.ndarray called by itself"),
        (b"\x80\x02}}\x85R.", "it calls something that is no function"),
        (b"\x80\x02K\x01K\x02\x85R.", "it calls something that is no function"),
        (b"\x80\x02" + RECONSTRUCT + b"}b.", "it sets the state of something that has none"),
        (b"\x80\x02" + RECONSTRUCT + b"N\x85Rq\x00.", "an array without values"),
        (b"\x80\x02" + RECONSTRUCT + b".", "a name where a value belongs"),
        (b"\x80\x02]q\x00h\x00a.", "containers nested more than 8 deep"),
        (b"\x80\x02K\x01", "it ends too early"),
        (b"", "it ends too early"),
        (b"\x80\x63.", "unsupported pickle protocol: 99"),
    ],
)
def test_what_is_refused(data, message):
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        load_data_pickle(data, "batch")
    assert str(caught.value).startswith("batch, byte ") and caught.value.offset == min(caught.value.offset, len(data))


def array_pickle(shape_opcodes, raw):
    return (
        b"\x80\x02" + RECONSTRUCT + b"N\x85R(K\x01" + shape_opcodes + b"cnumpy\ndtype\nU\x02u1\x85R"
        b"(K\x03U\x01|t\x62\x89U" + bytes([len(raw)]) + raw + b"tb."
    )  # fmt: skip


def test_array_sizes_must_match_the_bytes():
    assert load_data_pickle(array_pickle(b"K\x03\x85", b"abc"), "f").tolist() == [97, 98, 99]
    with pytest.raises(DataError, match=r"an array of shape \(2147483647,\) and dtype uint8 with 3 bytes of values"):
        load_data_pickle(array_pickle(b"J\xff\xff\xff\x7f\x85", b"abc"), "f")
    with pytest.raises(DataError, match="a malformed array"):
        load_data_pickle(array_pickle(b"J\xff\xff\xff\xff\x85", b"abc"), "f")


def test_bytes_cannot_be_multiplied():
    # one text of 1000 letters, made to bytes a thousand times over
    text = b"X" + struct.pack("<I", 1000) + b"a" * 1000 + b"q\x00"
    again = b"c_codecs\nencode\nh\x00U\x06latin1\x86R"
    with pytest.raises(DataError, match="bytes that are not written as latin-1 text"):
        load_data_pickle(b"\x80\x02" + text + again + b".", "f")  # Python 2's text as the name of the encoding
    again = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R"
    with pytest.raises(DataError, match="more bytes than the file has"):
        load_data_pickle(b"\x80\x02(" + text + again * 1000 + b"t.", "f")


def test_memory_of_hostile_memo_and_shared_containers():
    assert load_data_pickle(b"\x80\x02]r\xff\xff\xff\x7f.", "f") == []  # memo index 2^31 - 1
    # 7 lists, each holding the one before it a hundred times: 100^7 elements if they were copied out
    data = b"\x80\x02]q\x00" + b"".join(
        b"](" + b"h" + bytes([i]) + (b"h" + bytes([i])) * 99 + b"eq" + bytes([i + 1]) for i in range(7)
    )
    value = load_data_pickle(data + b".", "f")
    assert value[0] is value[99]
