"""Thousands of damaged and hostile checkpoints: a WeightsError or a good result, nothing run, little memory.

`python -m tests.io.test_torch_fuzz N` reads N files and prints what came of them.
"""

import codecs
import collections
import pickle
import sys
import tempfile
import time
import tracemalloc
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl.io import WeightsError, load_weights, save_npz
from tests.io.torch_files import SIX, both_formats, dictionary, older_file, storage, tensor, zip_file
from tests.mutated import mutated

RAW = {"0": SIX.tobytes(), "1": bytes(8)}
COUNTS = {"0": (6, SIX.tobytes()), "1": (1, bytes(8))}
BESIDE = {"args": Namespace(lr=0.1), "best": np.float64(1.5), "curve": np.arange(2), "n": [1, (2.5, "x")], "z": None}


def a_checkpoint() -> bytes:
    """A pickle with all that checkpoints hold: nested, shared storages, numbers of NumPy, options."""
    inner = dictionary(
        **{"module.a": tensor(storage()), "module.b": tensor(storage(), (3, 2), (1, 3)),
           "module.n": tensor(storage("1", "LongStorage", 1), (), ())}
    )  # fmt: skip
    here = b"X\x04\x00\x00\x00HERE"
    return pickle.dumps({**BESIDE, "state_dict": "HERE"}, 2).replace(here, inner[2:-1])


def npz_file(compress: bool) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save_npz(Path(folder, "x.npz"), {"a": SIX.reshape(2, 3), "b": np.zeros(300)}, compress)
        return Path(folder, "x.npz").read_bytes()


def damaged_files(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Endlessly: the kind of damage, and a file."""
    pickled = a_checkpoint()
    zipped, older = zip_file(pickled, RAW), older_file(pickled, COUNTS)
    numpy, packed = npz_file(compress=False), npz_file(compress=True)
    plain = both_formats({"a": SIX.reshape(2, 3), "b": np.array(2.5)})
    directory = zipped.index(b"PK\x01\x02")
    while True:
        yield "npz", mutated(packed if rng.random() < 0.5 else numpy, rng)
        yield "zip", mutated(zipped, rng)
        yield "zip, its directory", zipped[:directory] + mutated(zipped[directory:], rng)
        yield "zip, its pickle", zip_file(mutated(pickled, rng), RAW)
        yield "zip, plain", mutated(plain["zip"], rng)
        yield "zip, a random program", zip_file(random_program(rng), RAW)
        yield "older", mutated(older, rng)
        yield "older, its pickle", older_file(mutated(pickled, rng), COUNTS)
        yield "older, plain", mutated(plain["older"], rng)
        yield "older, its end", older[:-80] + mutated(older[-80:], rng)
        yield "older, a random program", older_file(random_program(rng), {"0": COUNTS["0"]})


OPCODES = [bytes([code]) for code in b".(}])tdsl\x85\x86\x87\x81Rb0120NQhjgpueaU\x88\x89\x93\x94"]
PIECES = [
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n", b"ctorch\nFloatStorage\n",
    b"ccollections\nOrderedDict\n", b"cargparse\nNamespace\n", b"ctorch._tensor\n_rebuild_from_type_v2\n",
    b"cnumpy.core.multiarray\nscalar\n", b"cnumpy\ndtype\n", b"c_codecs\nencode\n", b"cposix\nsystem\n", b"U\x02u1",
    b"ctorch\nSize\n", b"K\x02", b"J\xff\xff\xff\xff", b"\x8a\x08" + b"\xff" * 7 + b"\x7f", b"q\x01", b"h\x01",
    storage(), tensor(storage()), b"U\x01a" + tensor(storage()) + b"s", b"X\x01\x00\x00\x00k",
]  # fmt: skip


def random_program(rng: np.random.Generator) -> bytes:
    parts = [
        PIECES[rng.integers(len(PIECES))] if rng.random() < 0.5 else OPCODES[rng.integers(len(OPCODES))]
        for _ in range(rng.integers(1, 25))
    ]
    return b"\x80\x02}" + b"".join(parts) + b"."


class Watch:
    """Refuses everything that Python reports to its audit hooks, except that one file is opened for reading."""

    def __init__(self) -> None:
        self.path: str | None = None
        self.seen: list[str] = []
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.path is None or (event == "open" and str(arguments[0]) == self.path and arguments[1] in ("rb", "r")):
            return
        # our own code, NumPy, warnings; NumPy parses headers into a syntax tree, running it would be an "exec"
        if event not in ("builtins.id", "object.__getattr__", "sys._getframe", "compile"):
            self.seen.append(f"{event} {arguments!r}"[:200])

    def read(self, path: Path, read: Callable[[Path], Any]) -> Any:
        self.path = str(path)
        try:
            return read(path)
        finally:
            self.path = None


def try_all(count: int, folder: Path, seed: int = 0) -> dict[str, collections.Counter[str]]:
    """Reads `count` damaged files; the results by kind of damage."""
    watch, path = Watch(), folder / "damaged.pth"
    results: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    path.write_bytes(zip_file(a_checkpoint(), RAW))
    load_weights(path)  # with what is imported and kept at the first call
    for encoding in ("raw_unicode_escape", "unicode_escape", "latin-1", "cp437", "ascii"):
        codecs.lookup(encoding)
    worst, slowest = 0.0, 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in texts, of zip files with odd names
        for (kind, data), _ in zip(damaged_files(np.random.default_rng(seed)), range(count), strict=False):
            path.write_bytes(data)
            start = time.perf_counter()
            tracemalloc.start()  # for each anew: to follow what makes the files would take a third of the time
            try:
                loaded = watch.read(path, load_weights)
                for array in loaded.values():
                    assert array.nbytes <= 8 * len(data) + (64 << 20)
                    if array.nbytes < 1 << 20:
                        array.tobytes()  # all of it is there
                results[kind]["read"] += 1
            except WeightsError as error:
                assert str(error).startswith(f"{path}: ") and len(str(error)) < 2000
                results[kind]["refused"] += 1
            finally:
                used = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
            slowest = max(slowest, time.perf_counter() - start)
            assert used < 1_000_000 + 100 * len(data), kind
            worst = max(worst, used)
            assert not watch.seen, (kind, watch.seen)
    assert path.parent == folder and [p.name for p in folder.iterdir()] == [path.name]
    results["all"].update({"most bytes of memory": int(worst), "slowest, milliseconds": int(slowest * 1e3)})
    return results


@pytest.mark.parametrize("count", [1500, pytest.param(10_500, marks=pytest.mark.slow)])  # of other seeds: other files
def test_damaged_files(tmp_path: Path, count: int) -> None:
    results = try_all(count, tmp_path, seed=count)
    assert len(results) == 12 and sum(r["read"] + r["refused"] for r in results.values()) == count
    for kind, result in results.items():
        assert result["refused"] > 0.3 * count / 11 or kind == "all", (kind, result)
    assert sum(result["read"] for result in results.values()) > 0.02 * count  # some damage is none


def test_the_watch_watches(tmp_path: Path) -> None:
    watch = Watch()
    (tmp_path / "x").write_bytes(b"")
    watch.read(tmp_path / "x", Path.read_bytes)
    assert not watch.seen
    watch.read(tmp_path / "x", lambda path: path.write_bytes(b"changed"))
    watch.read(tmp_path / "x", lambda path: pickle.loads(b"cposix\ngetpid\n." if sys.platform != "win32" else b"N."))
    assert len(watch.seen) >= 1 and watch.seen[0].startswith("open")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        for kind, result in try_all(int(sys.argv[1]), Path(folder), seed=1).items():
            print(f"{kind:24}", dict(result))
        print(f"{time.perf_counter() - began:.1f} s")
