"""Models by name, with and without weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_samples import write_net

import cgir
import frontends


@pytest.mark.parametrize(("weights", "device"), [(False, "meta"), (True, "cpu")], ids=["without", "with"])
def test_weights_are_allocated_if_asked_for(weights: bool, device: str, tmp_path: Path) -> None:
    model = frontends.build(f"{write_net(tmp_path)}:build", weights)
    assert {parameter.device.type for parameter in model.parameters()} == {device}


SUFFIXES = (".onnx", ".pt2", ".keras", ".h5", ".pb", ".pbtxt")
REFUSED = """
import os, sys
import os
import subprocess
import sys
from pathlib import Path
import cgir
import frontends
from cgir import TraceError

folder = Path(sys.argv[1])
for suffix in sys.argv[2:]:
    paths = {kind: folder / f"{kind}{suffix}" for kind in ("fifo", "zero", "loop", "empty", "folder", "dangling")}
    os.mkfifo(paths["fifo"])
    paths["zero"].symlink_to("/dev/zero")
    paths["loop"].symlink_to(paths["loop"])
    paths["dangling"].symlink_to(folder / "nothing")
    paths["empty"].write_bytes(b"")
    paths["folder"].mkdir()
    paths["inside"] = paths["empty"] / f"net{suffix}"
    paths |= {"long": Path("a" * 5000 + suffix), "NUL": Path(f"a\\0b{suffix}"), "bytes": Path(f"\\udcff{suffix}")}
    for kind, path in paths.items():
        for call in (frontends.trace, lambda path: frontends.trace(frontends.build(str(path)))):
            try:
                print(kind, "accepted", call(path))
            except TraceError as error:
                print(kind, "refused", error)
"""


def test_what_is_no_file_is_one_error(tmp_path: Path) -> None:
    """In a child process, as reading a pipe or a device never ends."""
    command = [sys.executable, "-c", REFUSED, str(tmp_path), *SUFFIXES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    lines = done.stdout.splitlines()
    assert len(lines) == len(SUFFIXES) * 10 * 2, done.stderr[-2000:]
    assert all(line.split()[1] == "refused" for line in lines)
    for kind, message in (("fifo", "pipe or device"), ("zero", "pipe or device"), ("loop", "no file can be read"),
                          ("dangling", "no such file"), ("inside", "no such file"), ("bytes", "no such file"),
                          ("folder", "no SavedModel"), ("NUL", "no file can be read"), ("long", "too long"),
                          ("empty", "the file is empty")):  # fmt: skip
        assert all(message in line for line in lines if line.startswith(f"{kind} ")), (kind, message)


def test_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.onnx").write_bytes(b"x")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK)  # root may read everything
    with pytest.raises(cgir.TraceError, match="no permission to read it"):
        frontends.trace(tmp_path / "net.onnx")
