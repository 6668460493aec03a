"""Entry point of the command line: the table of commands, their parser, and how errors are reported.

Help has to appear at once, so the module of a command is imported when it was chosen, and imports nothing at module
level that is above `cgir` (frontends, encoders, contrastive, torch): functions import it when they run.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Protocol, cast

from cgir import __version__
from cgir.errors import MESSAGE_LIMIT, CgirError, one_line, printable
from cgir.interrupts import Terminated, termination_as_exception

from .options import join_signed
from .output import discard_output, prepare_streams, say_error
from .parsing import Parser, check_words

EPILOG = """examples:
  cgir demo                                              \
the whole line on networks and labels that come with the package
  cgir trace frontends.reference:resnet50 --input-shape 1,3,224,224 --html resnet50.html
  cgir trace net.py:build --input-shape 1,3,224,224 -o net.json    your own function that builds a model
  cgir trace net.onnx -o exported.json && cgir diff net.json exported.json
  cgir space ofa_mbv3 --sample 5000 -o pool              networks of a search space, for `cgir pretrain pool`
  cgir predict net.json exported.json --task imagenet_top1         a guess without any label
  cgir finetune net.py:a net.py:b net.py:c --labels measured.csv --input-shape 1,3,224,224 -o ranker    \
and with some
  cgir search nasbench201 --table digits --queries 40              the best network with few queries
  cgir score pool --data digits --proxies naswot,synflow           zero-cost proxies, on untrained networks
  cgir latency net.py:build net.onnx --input-shape 1,3,224,224     milliseconds on this machine
  cgir select --rule perturbation -o selected.svg        a network from a supernet, trained on digits
"""


WAITING = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}  # variables by which a user decides it


class Command(Protocol):
    """What a module of this folder provides for a command."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare options, description and examples."""

    def run(self, args: argparse.Namespace) -> int:
        """Carry out the command; returns the exit status."""


COMMANDS = {  # name of a module of this folder -> its line in `cgir --help`
    "trace": "turn a PyTorch, Keras, TensorFlow or ONNX model into a graph",
    "show": "print or draw a graph or model",
    "diff": "say where two graphs part",
    "space": "a search space: one of its networks as a graph, or many as a data set",
    "tables": "label tables: list them, make one of a benchmark's official file, or a data set of one",
    "pretrain": "train an encoder on unlabelled graphs",
    "embed": "a data set of graphs as vectors, in Parquet files",
    "finetune": "learn a ranking from few labels: of your own models, or of a data set",
    "predict": "rank networks, with a predictor of yours or without any label",
    "explain": "why a network got its score: what each operator is worth to a predictor",
    "score": "score untrained networks by zero-cost proxies, in seconds",
    "search": "find the best networks of a search space with few queries",
    "select": "train a supernet, which holds all networks of a search space, and select one of them",
    "latency": "measure how long networks take on this machine's processor",
    "demo": "the whole line in a few minutes",
}


def build_parser(commands: Iterable[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """The parser, with the options of these commands; of others, whose modules are not imported, only the names.

    `command` is the chosen one, and `action` that of `cgir tables`.
    """
    root = Parser(
        prog="cgir",
        description="Networks as computation graphs; graphs as vectors; vectors as a ranking learned from few labels.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"cgir {__version__}")
    root.add_argument("--debug", action="store_true", help="show the traceback of an error")
    subparsers = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, line in COMMANDS.items():
        parser = subparsers.add_parser(name, help=line)
        if name in commands:
            _command(name).add_arguments(parser)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status. 0: done; 1: two graphs differ, or an error of cgir itself; 2: an error, which is one line on
        standard error; 130 after Ctrl-C, 143 after SIGTERM.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    _wait_passively()
    prepare_streams()
    try:
        with termination_as_exception():
            status = _run(words)
            sys.stdout.flush()
            return status
    except KeyboardInterrupt as error:
        say_error(f"interrupted: {error}" if any(error.args) else "interrupted")
        return 143 if isinstance(error, Terminated) else 130
    except BrokenPipeError:
        discard_output()
        return 0
    except Exception as error:
        if "--debug" in words:
            traceback.print_exc()
        return _report(error)


def _wait_passively() -> None:
    """Let threads of OpenMP sleep while they wait for each other, unless the environment says how they wait.

    By default they take processor time, up to some milliseconds each time, from whatever else wants it: on busy cores
    that is the thread that they wait for. They read this once, when PyTorch is imported.
    """
    if not WAITING & os.environ.keys():
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def _run(words: list[str]) -> int:
    check_words(words)
    chosen = [word for word in words if not word.startswith("-")][:1]
    args = build_parser(chosen).parse_args(join_signed(words))
    return _command(args.command).run(args)


def _command(name: str) -> Command:
    return cast(Command, import_module(f".{name}", __package__))


def _report(error: Exception) -> int:
    """Print the one line of an error; the exit status."""
    if isinstance(error, CgirError | OSError):
        say_error(_message(error))
        status = 2
    else:
        name = one_line(error, 300, named=True)
        say_error(f"internal error: {name} (run again with --debug for the traceback, and report it)")
        status = 1
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        discard_output()
    return status


def _message(error: Exception) -> str:
    """The message of an error; of the operating system's, the file and what is wrong with it."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return printable(error, MESSAGE_LIMIT)
