"""Files over the network: resumed, checked, put in their place at once; every accident has its own message."""

import errno
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from minidl.data import MNIST, DataError, DataNotFoundError, write_idx
from minidl.data import download as module
from minidl.data.download import RemoteFile, Unreachable, download, fetch, hash_fits
from tests.data.file_server import Files, serving

ROOT = Path(__file__).parents[2]
BODY = np.random.default_rng(0).bytes(700_001)


def md5(data):
    return "md5:" + hashlib.md5(data, usedforsecurity=False).hexdigest()


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(module, "WAIT", 0.0)
    with serving() as files:
        files.content["a.bin"] = BODY
        yield files


@pytest.fixture
def nowhere(monkeypatch):
    """An address where nobody listens."""
    monkeypatch.setenv("NO_PROXY", "*")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/"


def names(folder):
    return sorted(os.listdir(folder))


# ---- one file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("says_length", [True, False])
def test_it_comes_whole_with_its_progress(tmp_path: Path, server: Files, says_length: bool) -> None:
    server.says_length = says_length
    seen: list[tuple[int, int | None]] = []
    download(server.address + "a.bin", tmp_path / "b.bin", sha256(BODY), lambda *state: seen.append(state))
    assert (tmp_path / "b.bin").read_bytes() == BODY and names(tmp_path) == ["b.bin"]
    total = len(BODY) if says_length else None
    assert seen[0] == (0, total) and seen[-1] == (len(BODY), total) and seen == sorted(seen)


@pytest.mark.parametrize("ranges", [True, False])
def test_it_goes_on_with_what_is_there(tmp_path: Path, server: Files, ranges: bool) -> None:
    server.ranges = ranges
    (tmp_path / "a.bin.part").write_bytes(BODY[:400_000])
    seen: list[int] = []
    download(server.address + "a.bin", tmp_path / "a.bin", sha256(BODY), lambda done, total: seen.append(done))
    assert (tmp_path / "a.bin").read_bytes() == BODY and names(tmp_path) == ["a.bin"]
    assert server.asked == [("a.bin", "bytes=400000-")] and seen[0] == (400_000 if ranges else 0)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_is_taken_up_again(tmp_path: Path, server: Files, ranges: bool) -> None:
    server.ranges, server.breaks_after = ranges, [300_000, 100_000]
    download(server.address + "a.bin", tmp_path / "a.bin", sha256(BODY))
    assert (tmp_path / "a.bin").read_bytes() == BODY
    second, third = ("bytes=300000-", "bytes=400000-") if ranges else ("bytes=300000-", "bytes=100000-")
    assert [asked for _, asked in server.asked] == ["", second, third]


def test_a_connection_that_keeps_breaking_leaves_a_part_for_the_next_time(tmp_path: Path, server: Files) -> None:
    server.breaks_after = [100_000, 100_000, 100_000]
    with pytest.raises(
        Unreachable, match=r"the connection ended after 300,000 of 700,001 bytes\. What came is kept: the next attempt"
    ):
        download(server.address + "a.bin", tmp_path / "a.bin", sha256(BODY))
    assert names(tmp_path) == ["a.bin.part"] and (tmp_path / "a.bin.part").read_bytes() == BODY[:300_000]
    download(server.address + "a.bin", tmp_path / "a.bin", sha256(BODY))
    assert server.asked[-1] == ("a.bin", "bytes=300000-") and names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("part", [BODY, BODY + b"more", b"x" * 5, b"x" * len(BODY)], ids=["whole", "long", "x", "X"])
def test_a_part_of_whatever_kind_ends_in_the_right_file(tmp_path: Path, server: Files, part: bytes) -> None:
    (tmp_path / "a.bin.part").write_bytes(part)
    download(server.address + "a.bin", tmp_path / "a.bin", sha256(BODY))
    assert (tmp_path / "a.bin").read_bytes() == BODY and names(tmp_path) == ["a.bin"]


def test_wrong_bytes_are_refused_and_leave_the_file_that_was_there(tmp_path: Path, server: Files) -> None:
    (tmp_path / "a.bin").write_bytes(b"an older file")
    with pytest.raises(
        DataError, match="what was downloaded has the wrong hash and was thrown away; expected"
    ) as caught:
        download(server.address + "a.bin", tmp_path / "a.bin", "sha256:" + "0" * 64)
    assert "found something else, of 700,001 bytes, at http://127.0.0.1" in str(caught.value)
    assert names(tmp_path) == ["a.bin"] and (tmp_path / "a.bin").read_bytes() == b"an older file"


def test_the_first_digits_of_a_hash_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(BODY)
    whole = sha256(BODY)
    assert hash_fits(path, whole) and hash_fits(path, whole[:15]) and hash_fits(path, whole.upper().lower())
    wrong = "0" if whole[14] != "0" else "1"
    assert not hash_fits(path, whole[:14] + wrong) and hash_fits(path, "")


@pytest.mark.parametrize("code, asked", [(404, 1), (403, 1), (503, 3)])
def test_pages_of_errors(tmp_path: Path, server: Files, code: int, asked: int) -> None:
    server.codes = [code] * 3
    with pytest.raises(Unreachable, match=f"HTTPError: {code}"):
        download(server.address + "a.bin", tmp_path / "a.bin", sha256(BODY))
    assert len(server.asked) == asked and names(tmp_path) == []


@pytest.mark.parametrize(
    "reason, said",
    [
        ("", "without a reason"),
        (TimeoutError(), "TimeoutError: without a reason"),
        (TimeoutError("timed out"), "TimeoutError: timed out"),
    ],
)
def test_errors_without_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: object, said: str) -> None:
    def fails(*arguments: object, **more: object) -> None:
        raise urllib.error.URLError(reason)

    monkeypatch.setattr(urllib.request, "urlopen", fails)
    with pytest.raises(Unreachable, match=f"^{said}$"):
        download("http://127.0.0.1/a.bin", tmp_path / "a.bin", sha256(BODY))


def test_a_server_that_is_busy_for_a_moment(tmp_path: Path, server: Files) -> None:
    server.codes = [503]
    download(server.address + "a.bin", tmp_path / "a.bin", sha256(BODY))
    assert len(server.asked) == 2


def test_a_server_that_never_says_the_length_of_a_file_it_refuses_to_continue(
    tmp_path: Path, server: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.codes = [416] * 3
    monkeypatch.setattr(os, "truncate", lambda path, size: None)  # as if something else filled the part again
    (tmp_path / "a.bin.part").write_bytes(b"x")
    with pytest.raises(Unreachable, match="the server does not say how long the file is"):
        download(server.address + "a.bin", tmp_path / "a.bin", sha256(BODY))


def test_redirects_are_followed_with_the_range_but_not_to_files(tmp_path: Path, server: Files) -> None:
    server.redirects["moved.bin"] = server.address + "a.bin"
    (tmp_path / "a.bin.part").write_bytes(BODY[:10])
    download(server.address + "moved.bin", tmp_path / "a.bin", sha256(BODY))
    assert server.asked == [("moved.bin", "bytes=10-"), ("a.bin", "bytes=10-")]
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    server.redirects["moved.bin"] = secret.as_uri()
    with pytest.raises(Unreachable, match="HTTPError: 302"):
        download(server.address + "moved.bin", tmp_path / "b.bin")
    server.redirects["moved.bin"] = server.address + "moved.bin"
    with pytest.raises(Unreachable, match="HTTPError: 302"):
        download(server.address + "moved.bin", tmp_path / "b.bin")
    assert names(tmp_path) == ["a.bin", "secret"]


def test_addresses_of_files(tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(BODY)
    (tmp_path / "a.bin.part").write_bytes(BODY[:10])
    download(source.as_uri(), tmp_path / "a.bin", sha256(BODY))
    assert (tmp_path / "a.bin").read_bytes() == BODY
    with pytest.raises(Unreachable, match="No such file"):
        download((tmp_path / "none").as_uri(), tmp_path / "b.bin")
    assert names(tmp_path) == ["a.bin", "source.bin"]


def test_a_full_disk(tmp_path: Path, server: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=700_000))
    message = r"no room for a file of 700,001 bytes: 700,000 bytes are free\. Make room, or choose"
    with pytest.raises(OSError, match=message) as caught:
        download(server.address + "a.bin", tmp_path / "a.bin", sha256(BODY))
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(tmp_path / "a.bin.part")
    assert names(tmp_path) == []
    (tmp_path / "a.bin.part").write_bytes(BODY[:1])
    download(server.address + "a.bin", tmp_path / "a.bin", sha256(BODY))  # the rest fits


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process as Unix has them")
def test_a_limit_in_the_middle(tmp_path: Path, server: Files) -> None:
    code = f"""
        import resource, sys
        sys.path.insert(0, {str(ROOT)!r})
        from pathlib import Path
        from minidl.data.download import download
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        try:
            download({server.address + "a.bin"!r}, Path("a.bin"), {sha256(BODY)!r})
        except OSError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert "larger than the limit for files here. What came is kept: make room and run the same again" in done.stdout
    assert names(tmp_path) == ["a.bin.part"]
    download(server.address + "a.bin", tmp_path / "a.bin", sha256(BODY))
    assert server.asked[-1] == ("a.bin", "bytes=300000-")


def process(server: Files, folder: Path) -> subprocess.Popen[bytes]:
    code = f"""
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        from pathlib import Path
        from minidl.data.download import download
        download({server.address + "a.bin"!r}, Path("a.bin"), {sha256(BODY)!r})
    """
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=folder)


def wait_for(condition) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen within a minute")


@pytest.mark.skipif(sys.platform == "win32", reason="signals as Unix has them")
def test_a_killed_process_leaves_a_part_that_another_goes_on_with(tmp_path: Path, server: Files) -> None:
    server.slow = threading.Event()
    part = tmp_path / "a.bin.part"
    victim = process(server, tmp_path)
    wait_for(lambda: part.exists() and part.stat().st_size > 200_000)
    victim.send_signal(signal.SIGKILL)
    victim.wait(60)
    have = part.stat().st_size
    assert names(tmp_path) == ["a.bin.part"] and part.read_bytes() == BODY[:have]
    server.slow.set()
    download(server.address + "a.bin", tmp_path / "a.bin", sha256(BODY))
    assert (tmp_path / "a.bin").read_bytes() == BODY and server.asked[-1] == ("a.bin", f"bytes={have}-")


@pytest.mark.skipif(sys.platform == "win32", reason="locks as Unix has them")
def test_two_processes_fetch_a_file_once(tmp_path: Path, server: Files) -> None:
    server.slow = threading.Event()
    first = process(server, tmp_path)
    wait_for(lambda: server.asked)
    second = process(server, tmp_path)
    time.sleep(1.0)
    server.slow.set()
    assert first.wait(60) == 0 and second.wait(60) == 0
    assert len(server.asked) == 1 and names(tmp_path) == ["a.bin"] and (tmp_path / "a.bin").read_bytes() == BODY


# ---- the files of a data set ---------------------------------------------------------------------------------------


def test_fetch_checks_and_keeps(tmp_path, server, nowhere, capfd):
    files = [RemoteFile("a.bin", md5(BODY))]
    fetch("Things", tmp_path / "to" / "there", files, [nowhere, server.address])  # the second mirror is tried
    assert (tmp_path / "to" / "there" / "a.bin").read_bytes() == BODY
    assert "a.bin" in capfd.readouterr().err  # the progress bar
    server.content.clear()
    fetch("Things", tmp_path / "to" / "there", files, [server.address], progress=False)  # nothing is asked for


def test_wrong_hash_leaves_nothing(tmp_path, server):
    server.content["a.bin"] = b"a proxy's error page"
    with pytest.raises(
        DataError, match="what was downloaded has the wrong hash and was thrown away; expected md5:"
    ) as caught:
        fetch("Things", tmp_path / "to", [RemoteFile("a.bin", md5(b"other"))], [server.address], progress=False)
    assert caught.value.file == str(tmp_path / "to" / "a.bin")
    assert not any((tmp_path / "to").iterdir())


def test_offline_says_what_to_put_where(tmp_path, nowhere):
    files = [RemoteFile("a.bin", "md5:aa"), RemoteFile("b.bin", "md5:bb")]
    with pytest.raises(DataNotFoundError) as caught:
        fetch("Things", tmp_path / "to", files, [nowhere], progress=False)
    text = str(caught.value)
    assert "a.bin could not be downloaded.\n" in text
    assert f"Things needs these files in {tmp_path / 'to'}:\n  a.bin  (md5:aa)\n  b.bin  (md5:bb)\n" in text
    assert f"They are published at {nowhere}" in text and "What was tried:" in text
    assert re.search(r"http://127\.0\.0\.1:\d+/: Connection\w*Error: ", text)


def test_file_not_on_the_mirror(tmp_path, server):
    with pytest.raises(DataNotFoundError, match="HTTPError: 404"):
        fetch("Things", tmp_path, [RemoteFile("none", "md5:aa")], [server.address], progress=False)


def test_mnist_downloads_once(tmp_path, server, monkeypatch):
    for part, n in (("train", 5), ("t10k", 2)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", np.zeros((n, 28, 28), np.uint8))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", np.arange(n, dtype=np.uint8))
    server.content = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    files = [RemoteFile(name, md5(body)) for name, body in sorted(server.content.items())]
    monkeypatch.setattr(MNIST, "mirrors", (server.address,))
    monkeypatch.setattr(MNIST, "files", files)
    with pytest.raises(DataNotFoundError):
        MNIST(tmp_path / "data")  # nothing is fetched unasked
    assert MNIST(tmp_path / "data", download=True).targets.tolist() == [0, 1, 2, 3, 4]
    assert len(list((tmp_path / "data" / "MNIST" / "raw").iterdir())) == 4
    server.content.clear()
    assert len(MNIST(tmp_path / "data", train=False, download=True)) == 2  # all four came, none is asked for again
