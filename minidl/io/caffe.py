"""Weights of Caffe (``.caffemodel``): protocol buffers, read by their numbers without Caffe and without protobuf.

Only what holds arrays is looked at; the description of the network beside them is passed over.

Source: BVLC/caffe, ``src/caffe/proto/caffe.proto``: messages NetParameter, LayerParameter, V1LayerParameter,
BlobProto and BlobShape; encoding: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .errors import WeightsError
from .named import Weights

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5  # kinds of fields


class _Layer(NamedTuple):
    """Numbers of the fields: layers in a net, name and arrays in a layer."""

    field: int
    name: int
    blobs: int


_LAYERS = (_Layer(100, 1, 7), _Layer(2, 4, 6))  # today's format, and that of 2014 ("V1")
_NUM, _WIDTH, _DATA, _DIFF, _SHAPE, _DOUBLE = 1, 4, 5, 6, 7, 8  # of a blob; 1 to 4 are N, C, H, W of the old format
_SUFFIXES = ("weight", "bias")


def load_caffe(path: str | os.PathLike[str]) -> Weights:
    """The arrays of a ``.caffemodel``: "conv1.weight", "conv1.bias", and "conv1.2" for a third one.

    Fully connected layers of the oldest format have the shape (1, 1, outputs, inputs); it is cut to (outputs, inputs),
    and that of biases to (outputs,).  Caffe's batch normalisation has a mean, a variance and the factor that both are
    to be divided by, under .weight, .bias and .2.  Networks trained with OpenCV's images expect blue first.

    Raises WeightsError for a file that is damaged or no such file; FileNotFoundError.

    >>> import pathlib, tempfile
    >>> blob = bytes([0x2A, 8]) + np.array([1.0, 2.0], "<f4").tobytes()  # field 5: packed numbers
    >>> layer = bytes([0x0A, 2]) + b"fc" + bytes([0x3A, len(blob)]) + blob  # field 1: its name; field 7: an array
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "tiny.caffemodel")
    ...     _ = path.write_bytes(bytes([0xA2, 6, len(layer)]) + layer)  # field 100: a layer
    ...     load_caffe(path)
    {'fc.weight': array([1., 2.], dtype=float32)}
    """
    data = memoryview(Path(path).read_bytes())
    arrays: dict[str, np.ndarray] = {}
    layers = 0
    for field, kind, start, end, _ in _fields(path, data, 0, len(data)):
        for layout in _LAYERS:
            if field == layout.field and kind == _BYTES:
                layers += 1
                arrays |= _layer(path, data, start, end, layout)
    if not layers:
        raise WeightsError(path, "no layers in it: this is no file of Caffe's weights")
    return Weights(arrays)


def _layer(
    path: str | os.PathLike[str], data: memoryview, start: int, end: int, layout: _Layer
) -> dict[str, np.ndarray]:
    name, blobs = "", []
    for field, kind, a, b, _ in _fields(path, data, start, end):
        if field == layout.name and kind == _BYTES:
            name = bytes(data[a:b]).decode("utf-8", "replace")
        elif field == layout.blobs and kind == _BYTES:
            blobs.append(_blob(path, data, a, b))
    found = {}
    for place, blob in enumerate(blobs):
        suffix = _SUFFIXES[place] if place < len(_SUFFIXES) else str(place)
        found[f"{name}.{suffix}"] = blob
    return found


def _blob(path: str | os.PathLike[str], data: memoryview, start: int, end: int) -> np.ndarray:
    numbers = {_DATA: bytearray(), _DOUBLE: bytearray()}
    old: dict[int, int] = {}
    shape: tuple[int, ...] | None = None
    for field, kind, a, b, number in _fields(path, data, start, end):
        if field in numbers:  # packed: all in one piece; or one number a field
            size, alone = (4, _FOUR) if field == _DATA else (8, _EIGHT)
            if kind not in (_BYTES, alone) or (b - a) % size:
                raise WeightsError(path, f"{b - a} bytes are no numbers of {size} bytes", a)
            numbers[field] += data[a:b]
        elif field == _SHAPE and kind == _BYTES:
            shape = _shape(path, data, a, b)
        elif _NUM <= field <= _WIDTH and kind == _VARINT:
            old[field] = number
    array = np.frombuffer(numbers[_DATA], "<f4") if numbers[_DATA] else np.frombuffer(numbers[_DOUBLE], "<f8")
    if shape is None and old:
        shape = _without_ones(tuple(old.get(field, 1) for field in range(_NUM, _WIDTH + 1)))
    if shape is not None and math.prod(shape) != array.size:
        raise WeightsError(path, f"an array of the shape {shape} has {array.size:,} numbers", start)
    try:
        array = array.reshape(array.shape if shape is None else shape)
    except ValueError as error:  # more axes than NumPy has, or an empty array with an absurd one
        raise WeightsError(path, f"an array of {array.size:,} numbers: {error}", start) from error
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(1, 1, 1, 500) of a bias and (1, 1, 500, 800) of a fully connected layer, where all arrays had four axes."""
    return shape[3:] if shape[:3] == (1, 1, 1) else shape[2:] if shape[:2] == (1, 1) else shape


def _shape(path: str | os.PathLike[str], data: memoryview, start: int, end: int) -> tuple[int, ...]:
    """The lengths of the axes, packed into one field or one a field."""
    lengths: list[int] = []
    for field, kind, a, b, number in _fields(path, data, start, end):
        if field == 1 and kind == _VARINT:
            lengths.append(number)
        elif field == 1 and kind == _BYTES:
            while a < b:
                number, a = _varint(path, data, a, b)
                lengths.append(number)
    return tuple(lengths)


def _fields(
    path: str | os.PathLike[str], data: memoryview, at: int, end: int
) -> Iterator[tuple[int, int, int, int, int]]:
    """(number of the field, its kind, where its content begins and ends, the content of a varint) one by one."""
    while at < end:
        begin = at
        tag, at = _varint(path, data, at, end)
        field, kind = tag >> 3, tag & 7
        number = 0
        if kind == _VARINT:
            start = at
            number, at = _varint(path, data, at, end)
        elif kind == _BYTES:
            length, start = _varint(path, data, at, end)
            at = start + length
        elif kind in (_FOUR, _EIGHT):
            start, at = at, at + (4 if kind == _FOUR else 8)
        else:
            raise WeightsError(path, f"a field of the kind {kind}, which Caffe's files do not have", begin)
        if at > end:
            raise WeightsError(path, f"a field goes on for {at - end:,} bytes behind the end of what holds it", begin)
        yield field, kind, start, at, number


def _varint(path: str | os.PathLike[str], data: memoryview, at: int, end: int) -> tuple[int, int]:
    """A whole number in groups of seven bits, the lowest first, and where the next byte is."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise WeightsError(path, "the file ends inside a number", at)
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
    raise WeightsError(path, "a number of more than ten bytes", at)
