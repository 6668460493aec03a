"""A file is replaced as a whole or not at all; what kills leave goes with the next write, what lives stays.

Kills are real ones, of forked copies of this process.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from killed_children import dies

from cgir import atomic_files
from cgir.atomic_files import atomic_path, locked
from cgir.errors import CgirError

MOMENTS = ((os, "open"), (os, "fsync"), (os, "replace"), (os, "close"), (os, "unlink"), (Path, "write_text"))


def write(path: Path, text: str = "new") -> None:
    with atomic_path(path, fsync=True) as temporary:
        temporary.write_text(text)


def killed_while_writing(path: Path) -> None:
    def act() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)

    assert dies(act, (), 0)


@pytest.mark.parametrize("old", [None, "old"])
def test_killed_at_every_moment(tmp_path: Path, old: str | None) -> None:
    target, moment, left = tmp_path / "f", 0, 0
    while True:
        target.write_text(old) if old else target.unlink(missing_ok=True)
        if not dies(lambda: write(target), MOMENTS, moment):
            break
        assert (target.read_text() if target.exists() else None) in (old, "new")
        left += len(set(os.listdir(tmp_path)) - {"f"})
        write(target, "next")
        assert os.listdir(tmp_path) == ["f"]
        assert target.read_text() == "next"
        moment += 1
    assert moment > 4
    assert left > 2


def test_leftovers_of_several_writers_go(tmp_path: Path) -> None:
    """Also where the writer in the first slot ended well and the one behind it was killed."""
    target = tmp_path / "f"
    with atomic_path(target) as first:
        first.write_text("first")
        killed_while_writing(target)
        with atomic_path(target) as second:
            second.write_text("second")
            assert len(os.listdir(tmp_path)) == 2
            killed_while_writing(target)
    write(target)
    assert os.listdir(tmp_path) == ["f"]


def test_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "f"
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        with atomic_path(target) as temporary:
            temporary.write_text("child")
            os.write(ready[1], b"x")
            os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    atomic_files._leftovers.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: write(target, f"{number}"), range(20)))
    assert len(os.listdir(tmp_path)) == 2
    os.write(go[1], b"x")
    assert os.waitpid(child, 0)[1] == 0
    assert target.read_text() == "child"
    assert os.listdir(tmp_path) == ["f"]


def test_writers_at_the_same_time(tmp_path: Path) -> None:
    target, texts = tmp_path / "f", [f"{number}" * 100_000 for number in range(10)]
    write(target, texts[0])
    children = []
    for text in texts[:3]:
        child = os.fork()
        if not child:
            for _ in range(30):
                write(target, text)
            os._exit(0)
        children.append(child)
    found: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            found.append(target.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda text: write(target, text), texts * 10))
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    done.set()
    reader.join()
    assert set(found) <= set(texts)
    assert os.listdir(tmp_path) == ["f"]


def test_what_others_left_goes_after_a_day(tmp_path: Path) -> None:
    """Files of other machines, and of versions before this one, whose names were random."""
    target = tmp_path / "f"
    young, old, other = (tmp_path / f".{name}.0123456789ab.part" for name in ("f", "f", "g"))
    old = tmp_path / ".f.ba9876543210.part"
    for path in (young, old, other):
        path.touch()
    for path in (old, other):
        os.utime(path, (0, 0))
    write(target)
    assert set(os.listdir(tmp_path)) == {"f", young.name, other.name}


def test_where_nothing_can_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic_files, "_file_system", lambda device: "cifs")
    target = tmp_path / "f"
    killed_while_writing(target)
    (leftover,) = tmp_path.iterdir()
    write(target)
    assert set(os.listdir(tmp_path)) == {"f", leftover.name}
    os.utime(leftover, (0, 0))
    write(target)
    assert os.listdir(tmp_path) == ["f"]


def test_a_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: [calls.append(folder), scan(folder)][1])
    for number in range(5):
        write(tmp_path / f"{number}")
    assert len(calls) == 1


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127, "b" * 236, "x" * 231], ids=["ascii", "utf-8", "236", "231"])
def test_names_as_long_as_possible(tmp_path: Path, name: str) -> None:
    killed_while_writing(tmp_path / name)
    write(tmp_path / name)
    assert os.listdir(tmp_path) == [name]


def test_devices_are_written_to(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(Path("/dev/null"))
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    write(Path("/dev/stdout"), "printed")
    assert Path("/dev/stdout").is_symlink()
    assert capfd.readouterr().out == "printed"
    os.mkfifo(pipe := tmp_path / "pipe")
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    write(pipe, "through")
    reader.join()
    assert found == ["through"]


@pytest.mark.parametrize("path", [".", "", "/", "folder", "link"])
def test_a_folder_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("link").symlink_to("folder")
    with pytest.raises(IsADirectoryError) as caught, atomic_path(path):
        pytest.fail("the file could have been written")
    assert caught.value.filename == str(Path(path))


def test_a_link_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (link := tmp_path / "link").symlink_to("file")
    write(link)
    assert not link.is_symlink()
    assert [(tmp_path / name).read_text() for name in ("file", "link")] == ["old", "new"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_an_error_of_the_disk_names_the_file(tmp_path: Path, number: int) -> None:
    target = tmp_path / "f"
    with pytest.raises(OSError, match="f") as caught, atomic_path(target):
        raise OSError(number, os.strerror(number))
    assert (caught.value.errno, caught.value.filename) == (number, str(target))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_of_any_new_file(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write(tmp_path / "f")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o666 & ~umask


def test_no_handle_stays_open(tmp_path: Path) -> None:
    def handles() -> int:
        return len(os.listdir("/proc/self/fd"))

    write(tmp_path / "f")
    before = handles()
    for number in range(20):
        write(tmp_path / f"{number}")
        with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "g"):
            _ = 1 / 0
        with pytest.raises(FileNotFoundError):
            write(tmp_path / "missing" / "f")
    assert handles() == before


@pytest.mark.parametrize("kill", [True, False])
def test_a_lock_ends_with_its_process(tmp_path: Path, kill: bool) -> None:
    lock = tmp_path / ".f.lock"

    def act() -> None:
        with locked(lock, tmp_path / "f"):
            os.kill(os.getpid(), signal.SIGKILL)

    with locked(lock, tmp_path / "f"), pytest.raises(CgirError, match="f: another process is writing to it"):
        _enter(lambda: locked(lock, tmp_path / "f"))
    if kill:
        assert dies(act, (), 0)
    with locked(lock, tmp_path / "f"):
        pass
    assert not os.listdir(tmp_path)


def _enter(make: Callable[[], object]) -> None:
    with make():  # type: ignore[attr-defined]
        pass
