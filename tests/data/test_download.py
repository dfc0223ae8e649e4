import functools
import hashlib
import http.server
import socket
import sys
import threading

import numpy as np
import pytest

from minidl.data import MNIST, DataError, DataNotFoundError, write_idx
from minidl.data.download import RemoteFile, fetch


def md5(data):
    return "md5:" + hashlib.md5(data, usedforsecurity=False).hexdigest()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder served on this machine: (folder, address, requested paths)."""
    monkeypatch.setenv("NO_PROXY", "*")
    folder = tmp_path / "served"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def nowhere(monkeypatch):
    """An address where nobody listens."""
    monkeypatch.setenv("NO_PROXY", "*")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/"


def test_fetch_checks_and_keeps(tmp_path, mirror, nowhere, capfd):
    pytest.importorskip("pooch")
    folder, address = mirror
    (folder / "a.bin").write_bytes(b"hello" * 1000)
    files = [RemoteFile("a.bin", md5(b"hello" * 1000))]
    fetch("Things", tmp_path / "to", files, [nowhere, address])  # the second mirror is tried
    assert (tmp_path / "to" / "a.bin").read_bytes() == b"hello" * 1000
    assert "a.bin" in capfd.readouterr().out  # the progress bar
    (folder / "a.bin").unlink()
    fetch("Things", tmp_path / "to", files, [address], progress=False)  # there already: nothing is asked for


def test_wrong_hash_leaves_nothing(tmp_path, mirror):
    pytest.importorskip("pooch")
    folder, address = mirror
    (folder / "a.bin").write_bytes(b"a proxy's error page")
    with pytest.raises(
        DataError, match="what was downloaded has the wrong hash and was thrown away; expected md5:"
    ) as caught:
        fetch("Things", tmp_path / "to", [RemoteFile("a.bin", md5(b"other"))], [address], progress=False)
    assert caught.value.file == str(tmp_path / "to" / "a.bin")
    assert not any((tmp_path / "to").iterdir())


def test_offline_says_what_to_put_where(tmp_path, nowhere):
    pytest.importorskip("pooch")
    files = [RemoteFile("a.bin", "md5:aa"), RemoteFile("b.bin", "md5:bb")]
    with pytest.raises(DataNotFoundError) as caught:
        fetch("Things", tmp_path / "to", files, [nowhere], progress=False)
    text = str(caught.value)
    assert "a.bin could not be downloaded.\n" in text
    assert f"Things needs these files in {tmp_path / 'to'}:\n  a.bin  (md5:aa)\n  b.bin  (md5:bb)\n" in text
    assert f"They are published at {nowhere}" in text and "What was tried:" in text and "ConnectionError" in text


def test_file_not_on_the_mirror(tmp_path, mirror):
    pytest.importorskip("pooch")
    with pytest.raises(DataNotFoundError, match="HTTPError: 404"):
        fetch("Things", tmp_path / "to", [RemoteFile("none", "md5:aa")], [mirror[1]], progress=False)


def test_without_pooch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(
        DataNotFoundError, match=r"downloading needs pooch \(python -m pip install pooch\), or fetch the files by"
    ):
        fetch("Things", tmp_path, [RemoteFile("a", "md5:aa")], ["http://x/"])


def test_mnist_downloads_once(tmp_path, mirror, monkeypatch):
    pytest.importorskip("pooch")
    folder, address = mirror
    files = []
    for part, n in (("train", 5), ("t10k", 2)):
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", np.zeros((n, 28, 28), np.uint8))
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", np.arange(n, dtype=np.uint8))
    files = [RemoteFile(p.name, md5(p.read_bytes())) for p in sorted(folder.iterdir())]
    monkeypatch.setattr(MNIST, "mirrors", (address,))
    monkeypatch.setattr(MNIST, "files", files)
    with pytest.raises(DataNotFoundError):
        MNIST(tmp_path / "data")  # nothing is fetched unasked
    assert MNIST(tmp_path / "data", download=True).targets.tolist() == [0, 1, 2, 3, 4]
    assert len(list((tmp_path / "data" / "MNIST" / "raw").iterdir())) == 4
    for path in folder.iterdir():
        path.unlink()
    assert len(MNIST(tmp_path / "data", train=False, download=True)) == 2  # all four came, none is asked for again
