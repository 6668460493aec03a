"""Random arguments for every command of `cgir`, on small files that exist and on hostile ones.

Options and their types come from the parser itself. Values that would only make a command take long or start processes,
such as a million steps, are left out: they are no errors.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator

from cgir.cli.main import build_parser, main
from cgir.errors import CgirError, printable

from .target import Target

NET = """
import torch
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 10))

def fails():
    raise KeyError("\\x1b[2J\\nb")

def number(spec):
    return 0.5

net = build()
"""
CELL = "|none~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
FILES = (
    "graph.json",
    "lone.json",
    "net.py:build",
    "net.py:fails",
    "net.py:net",
    "net.py",
    "pool",
    "pool.parquet",
    "table.csv",
    "labels.csv",
    "table.parquet",
    "ranker",
    "encoder.safetensors",
    "log.jsonl",
    "images.npz",
    "@list",
    "@loop",
    "@binary",
    "@/dev/zero",
    "@pool",
    "@",
    "@missing",
    "list",
    "binary",
    "empty",
    "folder",
    "missing",
    "missing/x",
    "/",
    ".",
    "",
    "/dev/null",
    "/proc/self/mem",
    "a\nb",
    "\x1b[2J",
    "\udcff",
    "x" * 300,
    "net.py:",
    ":build",
    "math:pi",
    f"nasbench201:{CELL}",
    "nasbench201:x",
    "\u202egpj",
    "graph.json/x",
    "out.json",
    "out.svg",
    "out.html",
    "out.csv",
    "out.parquet",
    "out",
)
HOSTILE = (
    "",
    " ",
    "-",
    "--",
    "-1",
    "0",
    "1",
    "2",
    "1e400",
    "nan",
    "inf",
    "-inf",
    "1" + "0" * 30,
    "9" * 5000,
    "0x10",
    "1_0",
    "٣",
    "a\nb",
    "\x1b[31m",
    "\udc80",
    "\ud800",
    "\0",
    "=",
    "a=b",
    "a=" + "1" * 30,
    "nodes=1",
    "nodes=5e6,depth=0",
    "none",
    "{}",
    "%s",
    "{spec}",
    "../..",
    "😀",
    "A" * 10_000,
    "1,3,8,8",
    "1,1,8,8",
    "1099511627776,1099511627776",
    "-flops",
    "--help",
    "<script>",
    "1.5G",
    "1e30T",
    "flops<1e30",
    "flops<<3",
    "accuracy",
    "digits",
    "nasbench201",
    CELL,
)
# what an option takes that does not make a command slow or start a process
VALUES: dict[str, tuple[str, ...]] = {
    "steps": ("1", "2", "0", "-1", "x", "nan"),
    "queries": ("1", "2", "0", "x"),
    "runs": ("1", "2", "0", "x"),
    "sample": ("1", "2", "0", "x", "1e400"),
    "batch": ("4", "0", "8", "-2", "none", "x=1"),
    "cells": ("1", "0"),
    "channels": ("2", "4", "-1"),
    "workers": ("1", "0", "x"),
    "executor": ("", "x", "processes:0", "processes:x", "dask:x"),
    "timeout": ("0", "nan", "x"),
    "memory": ("0", "x", "1e400"),
    "program": ("x", "", "'"),
    "limit": ("flops<1e9", "x", "<"),
    "table": ("digits", "digits", "x", "labels.csv", "table.parquet"),
    "space": ("nasbench201", "nasbench201", "darts", "x"),
    "partial": ("1", "2"),
    "threads": ("1", "1", "0"),
    "order": ("1", "3"),
    "layers": ("1",),
    "limits": ("bytes=1e9", "nodes=5e6", "nodes=1", "seconds=nan", "x=1", "bytes=1e9"),
    "input_shape": ("4,1,8,8", "8,1,8,8", "1,3,8,8", "0", "1,-1", "1099511627776,1099511627776", "x", "1," * 100 + "1"),
    "models": ("net.py:build", f"nasbench201:{CELL}", "pool", "net.py:fails", "@list", "@loop"),
    "task": ("imagenet_top1", "imagenet_top1", "x"),
    "networks": ("graph.json", "pool", "net.py:build", "pool.parquet", "@list", "@loop", "@binary", "lone.json"),
    "labels": ("labels.csv", "labels.csv", "binary", "empty", "pool"),
    "predictor": ("ranker", "ranker", "pool", "missing"),
    "data": ("digits", "images.npz", "binary", "x"),
    "encoder": ("universal", "encoder.safetensors", "x"),
    "store": ("pool", "pool.parquet", "folder", "missing"),
    "graph": ("graph.json", "graph.json", "lone.json", "empty", "folder"),
    "model": ("net.py:build", "graph.json", "net.py:net", "lone.json"),
    "a": ("graph.json", "lone.json", "net.py:build"),
    "b": ("graph.json", "lone.json", "net.py:build"),
    "architecture": (CELL, CELL, "x"),
    "metric": ("accuracy", "accuracy", "x"),
    "svg": ("a.svg", "a.svg", "", "folder", "graph.json"),
    "html": ("a.html", "a.html", "", "missing/x"),
    "dot": ("a.dot", "/dev/null"),
    "name": ("nasbench201", "digits", "table.parquet", "digits", "x"),
    "format": ("csv", "csv", "parquet", "nasbench201", "x"),
    "file": ("table.csv", "table.csv", "pool.parquet", "binary", "ranker"),
    "spec": ("arch", "arch", "spec", "x"),
    "objective": ("accuracy", "-flops", "x"),
    "log": ("log.jsonl", "new.jsonl", "folder"),
    "report": ("r.html", "r.html", "folder", ""),
    "checkpoint": ("c", "c", "folder", "binary"),
    "output": (
        "out",
        "out.json",
        "out.svg",
        "out.csv",
        "out.parquet",
        "folder",
        "missing/x",
        "graph.json",
        "pool",
        "",
        "/",
    ),
    "method": ("random", "local", "x"),
    "proxies": ("params", "naswot", "synflow", "x", ","),
    "oracle": ("net.py:number", "net.py:number", "net.py:fails", "net.py:x", "math:pi"),
}
REQUIRED: dict[str, tuple[str, ...]] = {  # so that nothing takes long where the options are left out
    "pretrain": ("--steps", "2", "--batch", "4"), "search": ("--method", "random", "--queries", "2"),
    "select": ("--steps", "1", "--batch", "4"), "latency": ("--runs", "1"), "score": ("--proxies", "params"),
}  # fmt: skip
NEVER = ("demo", "finetune")  # these take minutes, or seconds, with good arguments
SLOW = ("all",)  # options


class Given(NamedTuple):
    """A working folder and the words of a command line."""

    folder: Path
    words: list[str]


def prepare(folder: Path) -> str:
    """Small files of all sorts."""
    import torch

    from cgir.store import GraphStore
    from encoders import Encoder, EncoderConfig, Predictor, save_encoder
    from frontends import spaces

    space = spaces.get("nasbench201")
    specs = [space.sample(np.random.default_rng(index)) for index in range(6)]
    graphs = space.graphs(specs)
    torch.manual_seed(0)
    space.graph(specs[0]).save(folder / "graph.json")
    content = json.loads((folder / "graph.json").read_text())
    content["name"] = "\ud800\x1b[2J\n"
    content["nodes"][1]["module"] = "\udc80\n"
    (folder / "lone.json").write_text(json.dumps(content))
    (folder / "net.py").write_text(NET)
    texts = [space.format(spec) for spec in specs]
    for name in ("pool", "pool.parquet"):
        labels = {"accuracy": np.arange(6.0)}
        GraphStore.write(folder / name, graphs, family="nasbench201", specs=texts, labels=labels)
    rows = [f"{text},{index}" for index, text in enumerate(texts)]
    (folder / "labels.csv").write_text("\n".join(["model,accuracy", *rows]) + "\n")
    (folder / "table.csv").write_text("\n".join(["arch,accuracy", *rows]) + "\n")
    Predictor(head="gp").fit(graphs, np.arange(6.0)).save(folder / "ranker")
    save_encoder(Encoder(EncoderConfig(width=8, layers=1)), folder / "encoder.safetensors")
    np.savez(folder / "images.npz", images=np.zeros((12, 1, 8, 8), np.float32), labels=np.arange(12) % 3)
    (folder / "list").write_text("graph.json\nnet.py:build\n\n")
    (folder / "loop").write_text("@loop\n@loop\n")
    (folder / "binary").write_bytes(bytes(range(256)))
    (folder / "log.jsonl").write_text('{"format": "cgir-search", "version": 1, "config": {}}\n')
    (folder / "empty").touch()
    (folder / "folder").mkdir()
    return str(folder)


def write(rng: Generator, seeds: str, folder: Path) -> Given:
    """A command with most of what it needs, and some of what it does not expect."""
    shutil.copytree(seeds, folder, dirs_exist_ok=True)
    commands = _commands(build_parser())
    names = list(commands)
    name = names[int(rng.integers(len(names)))]
    words = [*name.split(), *_arguments(rng, commands[name])]
    words[1:1] = REQUIRED.get(name, ())
    for _ in range(int(rng.choice([0, 0, 0, 1, 2]))):
        words = _changed(rng, words)
    if words and words[0] in NEVER:
        words.append("--" + "x" * int(rng.integers(1, 9)))  # refused once all before it was parsed
    return Given(folder, words)


def read(given: Given) -> None:
    """Run the command in this process, whose terminal takes ASCII or UTF-8.

    Raises:
        CgirError: it ended with status 2.
        AssertionError: it showed a traceback, an error of its own, or what a terminal obeys.
    """
    streams = [io.TextIOWrapper(io.BytesIO(), ("ascii", "utf-8")[len(given.words) % 2]) for _ in range(2)]
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]), contextlib.chdir(given.folder):
        try:
            status: Any = main(given.words)
        except SystemExit as end:
            status = end.code
    said, errors = (_content(stream) for stream in streams)
    last = errors.strip().rsplit("\n", 1)[-1]
    if "MemoryError" in last:
        raise MemoryError(last)
    shown = f"{given.words!r:.400}: {last}"
    assert "Traceback (most recent call last)" not in errors, shown
    assert "internal error" not in errors, shown
    assert status in ((0, 1, 2) if "diff" in given.words else (0, 2)), shown
    assert all(line.replace("\t", " ").isprintable() for line in said.split("\n")), shown
    if status == 2:
        assert last.isprintable(), shown
        raise CgirError(printable(last, 500))


def _content(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer: Any = stream.buffer
    return str(buffer.getvalue().decode(stream.encoding))


def _commands(parser: argparse.ArgumentParser, before: str = "") -> dict[str, argparse.ArgumentParser]:
    """The parsers of all commands and of their actions."""
    found = {before: parser} if before else {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found.pop(before, None)
            for name, inner in action.choices.items():
                found |= _commands(inner, f"{before} {name}".strip())
    return found


def _arguments(rng: Generator, parser: argparse.ArgumentParser) -> list[str]:
    """Positional arguments and some options, in any order."""
    groups: list[list[str]] = []
    for action in parser._actions:
        if action.dest in SLOW or (action.option_strings and not action.required and rng.random() < 0.85):
            continue
        if action.dest == "help" and rng.random() < 0.9:
            continue
        several = action.nargs in ("+", "*") or isinstance(action, argparse._AppendAction)
        values = [_value(rng, action) for _ in range(int(rng.integers(1, 3)) if several else 1)]
        if action.nargs == 0:
            groups.append([action.option_strings[-1]])
        elif action.option_strings:
            option = action.option_strings[int(rng.integers(len(action.option_strings)))]
            groups += [[option, value] for value in values]
        else:
            groups.append(values)
    named = [group for group in groups if group[0].startswith("--") or len(group) > 1]
    plain = [group for group in groups if group not in named]
    rng.shuffle(named)
    return [word for group in (plain + named if rng.random() < 0.9 else named + plain) for word in group]


def _value(rng: Generator, action: argparse.Action) -> str:
    """A value of the right kind, mostly."""
    own = VALUES.get(action.dest)
    if action.choices and rng.random() < 0.9:
        return _one(rng, [str(choice) for choice in action.choices])
    if own and (rng.random() < 0.9 or action.dest in ("executor", "timeout", "memory", "program", "workers", "sample")):
        return _one(rng, own[: 2 if rng.random() < 0.75 else None])  # good ones stand first
    if action.dest in ("steps", "queries", "runs", "batch", "cells", "channels", "size", "method", "layers"):
        return _one(rng, ("0", "-1", "1e400", "x", "", "\0", "9" * 5000))
    return _one(rng, FILES if action.type is Path or rng.random() < 0.5 else HOSTILE)


def _changed(rng: Generator, words: Sequence[str]) -> list[str]:
    """Words with one left out, given twice, moved, or joined to the next."""
    words = list(words)
    if len(words) < 2:
        return words
    at = int(rng.integers(1, len(words)))
    kinds: tuple[Callable[[], list[str]], ...] = (
        lambda: words[:at] + words[at + 1 :],
        lambda: [*words[:at], words[at], *words[at:]],
        lambda: [*words[:at], _one(rng, ("--debugg", "-", "--", "-x", "\udcff", "@loop", "@binary", "a\nb"))],
        lambda: [*words[: at - 1], f"{words[at - 1]}={words[at]}", *words[at + 1 :]] if at > 1 else words,
    )
    return kinds[int(rng.integers(len(kinds)))]()


def _one(rng: Generator, values: Sequence[str]) -> str:
    return values[int(rng.integers(len(values)))]


TARGET = Target("command line arguments", prepare, write, read)
