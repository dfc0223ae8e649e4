"""A file is the old one or the complete new one: after errors, a full disk and a killed process."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from minidl.io import atomic, atomic_path, atomic_write

ROOT = Path(__file__).parents[2]
posix = pytest.mark.skipif(os.name != "posix", reason="POSIX only")


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize(("mode", "content"), [("wb", b"new\x00"), ("w", "néw")])
def test_the_new_file_appears_at_the_end_of_the_block(tmp_path: Path, mode: str, content: str | bytes) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    options = {} if mode == "wb" else {"encoding": "utf-8"}
    with atomic_write(path, mode, **options) as file:
        file.write(content)
        file.flush()
        assert path.read_text() == "old"
    assert path.read_bytes() == (content if isinstance(content, bytes) else content.encode())
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("existed", [True, False])
def test_a_failing_block_leaves_everything_as_it_was(tmp_path: Path, error: type[BaseException], existed: bool) -> None:
    path = tmp_path / "file"
    if existed:
        path.write_text("old")
    with pytest.raises(error), atomic_write(path, "w") as file:
        file.write("half")
        raise error
    assert names(tmp_path) == (["file"] if existed else [])
    assert not existed or path.read_text() == "old"


def test_nothing_written_to_the_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "file"):
        pass
    assert names(tmp_path) == []


@pytest.mark.parametrize("mode", ["a", "r", "w+", "xb"])
def test_other_modes_are_refused(tmp_path: Path, mode: str) -> None:
    with pytest.raises(ValueError, match="atomic_write writes whole files"), atomic_write(tmp_path / "f", mode):
        pass


def test_folders_are_not_created(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "file"
    with pytest.raises(FileNotFoundError, match="there is no such folder to write a file") as e, atomic_write(path):
        pass
    assert e.value.filename == str(tmp_path / "missing") and names(tmp_path) == []


def test_errors_name_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError) as caught, atomic_write(tmp_path / "folder.npz"):
        pass
    assert caught.value.filename == str(tmp_path / "folder.npz") and ".tmp" not in str(caught.value)
    with pytest.raises(OSError) as caught, atomic_write(tmp_path / "file" / "x"):
        pass
    assert caught.value.filename == str(tmp_path / "file" / "x")
    assert names(tmp_path) == ["file", "folder.npz"]


@posix
def test_data_reach_the_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    fsync, replace = os.fsync, os.replace

    def recording_fsync(descriptor: int) -> None:
        happened.append("sync folder" if os.path.isdir(f"/dev/fd/{descriptor}") else "sync file")
        fsync(descriptor)

    def recording_replace(a: Path, b: Path) -> None:
        happened.append("replace")
        replace(a, b)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(os, "replace", recording_replace)
    with atomic_write(tmp_path / "file") as file:
        file.write(b"x")
    assert happened == ["sync file", "replace", "sync folder"]


def test_without_folder_handles_as_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "O_DIRECTORY", raising=False)
    with atomic_write(tmp_path / "file") as file:
        file.write(b"x")
    assert (tmp_path / "file").read_bytes() == b"x"


def test_the_file_is_closed_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows cannot rename an open file."""
    with atomic_write(tmp_path / "file") as file:
        replace = os.replace

        def checking_replace(a: Path, b: Path) -> None:
            assert file.closed
            replace(a, b)

        monkeypatch.setattr(os, "replace", checking_replace)
    assert (tmp_path / "file").exists()


@posix
def test_the_mode_of_the_old_file_or_the_umask_holds(tmp_path: Path) -> None:
    path = tmp_path / "file"
    before = os.umask(0o027)
    try:
        with atomic_write(path):
            pass
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
    path.chmod(0o604)
    with atomic_write(path):
        pass
    assert path.stat().st_mode & 0o777 == 0o604


@posix
def test_a_writer_that_makes_private_files_does_not_decide_the_mode(tmp_path: Path) -> None:
    """safetensors makes its files 0600."""
    path = tmp_path / "file"
    for mask, mode in ((0o022, 0o644), (0o007, 0o660)):
        before = os.umask(mask)
        try:
            with atomic_path(path) as temporary:
                os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
        finally:
            os.umask(before)
        assert path.stat().st_mode & 0o777 == mode and names(tmp_path) == ["file"]
        path.unlink()


@posix
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with atomic_write(tmp_path / "link", "w") as file:
        file.write("new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [(errno.ENOSPC, "no space is left on the device"), (errno.EFBIG, "larger than the limit for files")],
)
@pytest.mark.parametrize("existed", [True, False])
def test_a_full_disk_says_so_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, sentence: str, existed: bool
) -> None:
    path = tmp_path / "model"
    if existed:
        path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"could not be written: .*{sentence}") as caught, atomic_write(path) as file:
        file.write(b"x" * 100)
    assert caught.value.errno == code and caught.value.filename == str(path)
    assert ("The file from before is unchanged" in str(caught.value)) == existed
    assert ("Nothing was left behind" in str(caught.value)) != existed
    assert names(tmp_path) == (["model"] if existed else [])


@posix
def test_a_real_limit_in_the_middle_of_a_write(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_text("old")
    code = f"""
        import resource, sys
        sys.path.insert(0, {str(ROOT)!r})
        from minidl.io import atomic_write
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            with atomic_write({str(path)!r}) as file:
                for _ in range(100):
                    file.write(b"x" * 1000)
        except OSError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert "larger than the limit for files here. The file from before is unchanged." in done.stdout, done.stderr
    assert names(tmp_path) == ["model"] and path.read_text() == "old"


@posix
def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_text("old")
    code = f"""
        import sys, time
        sys.path.insert(0, {str(ROOT)!r})
        from minidl.io import atomic_write
        with atomic_write({str(path)!r}) as file:
            file.write(b"half")
            file.flush()
            print("writing", flush=True)
            time.sleep(60)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert path.read_text() == "old"
    (leftover,) = set(names(tmp_path)) - {"model"}

    # the next writer leaves a young leftover alone (its owner may live) and removes an old one
    with atomic_write(path, "w") as file:
        file.write("new")
    assert names(tmp_path) == [leftover, "model"]
    an_hour_ago = time.time() - atomic._STALE_AFTER - 60
    os.utime(tmp_path / leftover, (an_hour_ago, an_hour_ago))
    with atomic_write(path, "w") as file:
        file.write("newer")
    assert names(tmp_path) == ["model"] and path.read_text() == "newer"
