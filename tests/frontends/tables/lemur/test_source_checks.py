"""Sources that say what no network needs are refused before they run; what networks do say is kept."""

from __future__ import annotations

import ast
import functools
import importlib
import operator
import os
import sys
import types

import pytest
from lemur_samples import BRANCHES, PLAIN

from cgir import TraceError
from frontends.tables.lemur.source_checks import LONGEST, MODULES, checked_tree, is_hidden, source_key

HOSTILE = {
    "import": ("import subprocess\nsubprocess.run(['id'])", "line 1 imports subprocess"),
    "import inside": ("def f():\n    import socket\n    return socket\nf()", "line 2 imports socket"),
    "from": ("from os import system\nsystem('id')", "line 1 imports from os"),
    "relative": ("from .. import x\nx", r"line 1 imports from \.\."),
    "star": ("from torch import *", r"line 1 imports \* from torch"),
    "hidden module": ("from torch import hub\nhub", "line 1 imports hub from torch"),
    "module below": ("import torch.hub\ntorch", r"line 1 imports torch\.hub"),
    "exec": ("exec('1')", "line 1 uses exec"),
    "eval handed on": ("list(map(eval, ['1']))", "line 1 uses eval"),
    "open": ("x = 1\nopen('/etc/passwd').read()", "line 2 uses open"),
    "dunder import": ("__import__('os')", "line 1 uses __import__"),
    "builtins": ("__builtins__['open']", "line 1 uses __builtins__"),
    "load": ("import torch\ntorch.load('x.pt')", r"line 2 reads \.load"),
    "a module's module": ("import random\nrandom._os.system('id')", r"line 2 reads \.(system|_os)"),
    "torch's os": ("import torch\ntorch.utils.os", r"line 2 reads \.os"),
    "native code": ("import torch\ntorch.ops.load_library('x.so')", r"line 2 reads \.(ops|load_library)"),
    "classes": ("().__class__.__base__.__subclasses__()", r"line 1 reads \.__(base|subclasses)__"),
    "frames": ("(i for i in ()).gi_frame.f_back", r"line 1 reads \.(f_back|gi_frame)"),
    "getattr": ("import torch\ngetattr(torch, 'hub')", r"line 2 reads \.hub"),
    "computed name": ("import torch\ngetattr(torch, 'h' + 'ub')", "line 2 calls getattr with a name that is computed"),
    "getattr handed on": ("f = getattr", "line 1 passes getattr on"),
    "numpy": ("import numpy as np\nnp.fromfile('x')", r"line 2 reads \.fromfile"),
    "pickle": ("import numpy as np\nnp.zeros(1).dump('x')", r"line 2 reads \.dump"),
    "match": ("import torch\nmatch torch:\n    case object(hub=x): pass", "line 3 matches hub"),
    "match by position": ("match 1:\n    case int(x): x", "line 2 matches attributes by their positions"),
    "builtins of a module": ("import enum\nenum.bltns", r"line 2 reads \.bltns"),
    "operator": ("import typing\ntyping.operator", r"line 2 reads \.operator"),
    "types": ("import dataclasses\ndataclasses.types", r"line 2 reads \.types"),
    "text as code": ("import dataclasses\ndataclasses._create_fn", r"line 2 reads \._create_fn"),
    "attributes copied": ("import functools\nfunctools.update_wrapper", r"line 2 reads \.update_wrapper"),
    "annotation read": ("from functools import singledispatch as s\ns", "line 1 imports singledispatch from functools"),
    "annotation": ("import typing\ntyping.get_type_hints", r"line 2 reads \.get_type_hints"),
    "no Python": ("class Net(:", r"no Python source \(SyntaxError"),
    "nested": ("(" * 100_000, r"no Python source \("),
    "unary": ("-" * 100_000 + "1", r"no Python source \("),
    "zero": ("\0", r"no Python source \("),
    "long": ("#" * (LONGEST + 1), r"1,048,577 characters, expected at most 1,048,576"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_sources_are_refused(name: str) -> None:
    source, message = HOSTILE[name]
    with pytest.raises(TraceError, match=f"^net: {message}"):
        checked_tree(source, "net")


@pytest.mark.parametrize("source", [PLAIN, BRANCHES], ids=["plain", "branches"])
def test_networks_are_kept(source: str) -> None:
    written, kept = ast.parse(source), checked_tree(source, "net")
    classes = [[node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)] for tree in (written, kept)]
    assert classes[0] == classes[1]
    compile(kept, "net", "exec")


def test_what_is_not_needed_goes() -> None:
    text = ast.unparse(checked_tree(PLAIN, "net"))
    assert "import os" not in text
    assert "gc" not in text  # only the training used it
    assert "GradScaler" not in text
    assert "optimizer" not in text
    assert "import torch.nn as nn" in text
    assert "def forward" in text


def test_an_import_that_is_used_under_another_name_counts() -> None:
    with pytest.raises(TraceError, match="line 1 imports os"):
        checked_tree("import os as nn\nnn.system('id')", "net")
    assert checked_tree("import os.path as p", "net").body == []


def test_equal_needs_have_equal_keys() -> None:
    unused = "def spare(x):\n    return spare(x) + helper(x)\n\ndef helper(x):\n    return x\n"
    key = source_key(PLAIN, "net")
    assert source_key(unused + PLAIN.replace("# the usual way to learn a size", "#"), "other") == key
    assert source_key(PLAIN.replace('lr=prm["lr"]', "lr=0.1"), "net") == key  # training
    assert source_key(PLAIN.replace("8, 3, padding=1", "8, 5, padding=2"), "net") != key
    assert (
        source_key(unused + PLAIN.replace("        self.device", "        helper(1)\n        self.device"), "net")
        != key
    )


def test_no_attribute_of_the_modules_of_python_runs_code() -> None:
    runs = (open, exec, eval, getattr, setattr, vars, globals, __import__, importlib.import_module, os.system)
    makes = (operator.attrgetter, operator.methodcaller, types.FunctionType, types.CodeType, functools.update_wrapper)
    known = [importlib.import_module(name) for name in MODULES if name.partition(".")[0] in sys.stdlib_module_names]
    for module in known:  # which grows
        read = [getattr(module, name) for name in dir(module) if not is_hidden(name)]
        assert not [value for value in read if any(value is other for other in (*runs, *makes))], module
        known += [value for value in read if isinstance(value, types.ModuleType) and value not in known]
    assert len(known) > 12
