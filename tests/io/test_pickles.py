"""The pickle machine of data sets and weights: what would keep it busy for hours is refused at once."""

import pickle
import re
import struct

import pytest

from minidl.data import DataError, load_data_pickle


def nest(levels: int) -> bytes:
    """((((), ()), ((), ())), ...): the text or the hash of it takes 2^levels steps, the pickle 5 bytes each."""
    return b")q\x00" + b"".join(b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(levels))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"}" + nest(60) + b"K\x01s.", "something (tuple) as a key of a dictionary; keys are texts and numbers"),
        (b"}(" + nest(60) + b"K\x01u.", "something (tuple) as a key of a dictionary"),
        (b"(" + nest(60) + b"K\x01d.", "something (tuple) as a key of a dictionary"),
        (b"}\x8a\x09" + bytes(8) + b"\x01K\x01s.", "something (int) as a key of a dictionary"),
        (b"}]K\x01s.", "something (list) as a key of a dictionary"),
        (b"}(K\x01u.", "a key without a value"),
        (b"]K\x00K\x01s.", "it sets an item of something that is no dictionary"),
        (b"]p4294967296\n.", "a memo index of more than 32 bits"),
        (b"\x8b" + struct.pack("<i", 100_000) + b"1" * 100_000 + b".", "opcode 0x8b, which plain data does not need"),
        (b"cnumpy\ndtype\n" + nest(60) + b"\x85R(K\x03U\x01|tb.", "a name where a value belongs"),
        (
            b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n" + nest(60) + b"\x85RU\x01a\x86R.",
            "an array of dtype something (tuple); only bool, int, uint and float are read",
        ),
        (b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02f8\x85RU\x01a\x86R.", "a malformed number"),
        (b"c" + b"a" * 100_000 + b"\nb\n.", "it asks for " + "a" * 200 + ".b, which no data file needs"),
    ],
)
def test_work_without_end_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        load_data_pickle(b"\x80\x02" + data, "f")
    assert len(str(caught.value)) < 2000


def test_shapes_of_huge_numbers_are_not_multiplied() -> None:
    number = b"\x8a\xff" + b"\x7f" * 255 + b"q\x00"
    shape = b"(" + number + b"h\x00" * 100_000 + b"t"
    array = b"cnumpy.core.multiarray\n_reconstruct\nN\x85R(K\x01" + shape + b"cnumpy\ndtype\nU\x02u1\x85R\x89U\x01atb."
    with pytest.raises(DataError, match="a malformed array"):
        load_data_pickle(b"\x80\x02" + array, "f")


def test_numbers_of_numpy() -> None:
    numpy = pytest.importorskip("numpy")
    value = {
        "best": numpy.float32(2.5),
        "n": numpy.int64(3),
        "yes": numpy.bool_(True),
        "big": numpy.array(1, ">i4")[()],
    }
    for protocol in (2, 4):
        back = load_data_pickle(pickle.dumps(value, protocol), "f")
        assert back == {"best": 2.5, "n": 3, "yes": True, "big": 1} and type(back["best"]) is float


def test_short_tuples_are_keys() -> None:
    value = {("a", 1): 2, None: 3, 1.5: 4}
    assert load_data_pickle(pickle.dumps(value, 2), "f") == value
    with pytest.raises(DataError, match="as a key of a dictionary"):
        load_data_pickle(pickle.dumps({tuple(range(9)): 1}, 2), "f")
