"""Small CIFAR files as their authors wrote them: pickles of Python 2's protocol 2, and binary records."""

import io
import struct
import tarfile

import numpy as np


def python2_batch(images, labels):
    """The bytes of a batch: ``images`` (N, 3, 32, 32) uint8, ``labels`` a dict of key -> list of numbers.

    Opcode by opcode what Python 2 wrote: short strings, no Unicode, an array through numpy.core.multiarray.
    """
    out = bytearray(b"\x80\x02}q\x01(")

    def text(value):
        value = value.encode()
        out.extend(b"U" + bytes([len(value)]) + value)

    def number(value):
        out.extend(b"K" + bytes([value]) if 0 <= value < 256 else b"J" + struct.pack("<i", value))

    text("data")
    out.extend(b"cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87Rq\x04")
    out.extend(b"(K\x01")
    number(len(images))
    out.extend(b"M" + struct.pack("<H", 3072) + b"\x86cnumpy\ndtype\nq\x05U\x02u1K\x00K\x01\x87Rq\x06")
    out.extend(b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89")
    raw = images.tobytes()
    out.extend(b"T" + struct.pack("<i", len(raw)) + raw + b"tb")
    for key, values in labels.items():
        text(key)
        out.extend(b"](")
        for value in values:
            number(value)
        out.extend(b"e")
    text("batch_label")
    text("training batch 1 of 5")
    out.extend(b"u.")
    return bytes(out)


def binary_batch(images, *label_columns):
    """Records of label bytes and 3072 pixels."""
    columns = [np.asarray(c, np.uint8)[:, None] for c in label_columns]
    return np.concatenate([*columns, images.reshape(len(images), 3072)], axis=1).tobytes()


def write_archive(path, members):
    """A .tar.gz with ``members``: name -> bytes."""
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def random_images(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 3, 32, 32), np.uint8)
