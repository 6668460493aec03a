"""The words of the command line. Nothing is imported here but what a --help needs, so that it is there at once."""

from __future__ import annotations

import argparse

from .graph_arguments import add_diff, add_show, add_space, add_trace
from .learning_arguments import add_demo, add_explain, add_finetune, add_predict, add_pretrain
from .table_arguments import add_tables

EPILOG = """examples:
  cgir demo                                              the whole line on networks and labels that come with the package
  cgir trace frontends.reference:resnet50 --input-shape 1,3,224,224 --html resnet50.html
  cgir trace net.py:build --input-shape 1,3,224,224 -o net.json    your own function that builds a model
  cgir trace net.onnx -o exported.json && cgir diff net.json exported.json
  cgir space ofa_mbv3 --sample 5000 -o pool              networks of a search space, for `cgir pretrain pool`
  cgir predict net.json exported.json --task imagenet_top1         a guess without any label
  cgir finetune net.py:a net.py:b net.py:c --labels measured.csv --input-shape 1,3,224,224 -o ranker    and with some
"""


def parser() -> argparse.ArgumentParser:
    """All commands and their options; `command` is which, and `action` which of `cgir tables`."""
    root = argparse.ArgumentParser(
        prog="cgir",
        description="Networks as computation graphs; graphs as vectors; vectors as a ranking learned from few labels.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        add_trace,
        add_show,
        add_diff,
        add_space,
        add_tables,
        add_pretrain,
        add_finetune,
        add_predict,
        add_explain,
        add_demo,
    ):
        add(commands)
    return root
