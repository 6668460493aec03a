"""A user's table of measurements: how its lines find their networks, and what is wrong with it in one line."""

from __future__ import annotations

import csv
import io
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cgir import CgirError
from cgir.cli.label_csv import UNKNOWN, LabelColumn, read_labels

NAMES = ["nets/a.py:small", "nets/a.py:wide", "exported/net.onnx", "package.models:small", "2 1 4"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "measured.csv"


def values(path: Path, text: str, metric: str | None = None) -> list[float]:
    path.write_text(text, encoding="utf-8")
    return read_labels(path, metric).join(NAMES).tolist()


def same(found: list[float], expected: list[float]) -> bool:
    return bool(np.array_equal(found, expected, equal_nan=True))


@pytest.mark.parametrize(
    ("model", "index"),
    [
        ("nets/a.py:small", 0),
        ("./nets/../nets/a.py:small", 0),
        ("a.py:small", 0),
        ("wide", 1),
        ("exported/net.onnx", 2),
        ("net.onnx", 2),
        ("net", 2),
        ("package.models:small", 3),
        ("2 1 4", 4),
    ],
)
def test_a_model_is_found_by_its_name_or_what_only_it_is_called(table: Path, model: str, index: int) -> None:
    expected = np.full(5, np.nan)
    expected[index] = 71.25
    assert same(values(table, f"model,accuracy\n{model},71.25\n"), expected.tolist())


def test_cells_without_a_value_blank_lines_marks_and_order_do_not_matter(table: Path) -> None:
    empty = "".join(f"{word},wide,\n" for word in (*UNKNOWN, "NaN", "N/A"))
    text = f'\ufeffaccuracy , model,note,,\n\n1e-1, nets/a.py:small,\n,net.onnx\n,,\n\n-3,"2 1 4",x\n{empty}'
    assert same(values(table, text, "accuracy"), [0.1, np.nan, np.nan, np.nan, -3.0])


def test_several_values_of_a_model_are_averaged_and_said(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        found = values(table, "model,acc\nnet,70\nwide,1\nnet.onnx,80\nexported/net.onnx,\n")
    assert same(found, [np.nan, 1.0, 75.0, np.nan, np.nan])
    assert caplog.messages == [f"{table}: 2 values of exported/net.onnx, their mean is used"]


@pytest.mark.parametrize(
    ("text", "metric", "message"),
    [
        ("", None, r"the first line names the columns none; expected 'model' and a metric, separated by commas"),
        ("name;acc\nnet;1\n", None, r"the first line names the columns name;acc; expected 'model' .*"),
        (
            "model,acc,time\nnet,1,2\n",
            None,
            r"2 columns of values, acc, time; say which with --metric, such as --metric acc",
        ),
        ("model,acc\nnet,1\n", "time", r"no column 'time'; it has acc"),
        ("model\nnet\n", None, r"no column of values; it has only 'model'"),
        ("model\nnet\n", "acc", r"no column 'acc'; it has only 'model'"),
        ("model,acc,acc\nnet,1,2\n", "acc", r"the first line names a column twice: model, acc, acc"),
        ("model,acc,model\nnet,1,net\n", "acc", r"the first line names a column twice: model, acc, model"),
        (
            "model,acc\n\nnet,71%\n",
            None,
            r"line 3: acc of net is '71%'; expected a number, or nothing where there is none",
        ),
        ("model,acc\nnet,inf\n", None, r"line 2: acc of net is 'inf'; expected a number.*"),
        ("model,acc\nnet,71,3\n", None, r"line 2: 3 values, expected 2; a name with a comma needs quotes"),
        ("model,acc\n,71\n", None, r"line 2: names no model"),
        (
            "model,acc\nsmall,71\n",
            None,
            r"line 2: 'small' may be 2 of the networks, such as nets/a.py:small and package.models:small; .*",
        ),
        (
            "model,acc\nnets/a.py:smal,71\n",
            None,
            r"line 2: 'nets/a.py:smal' is none of the networks that were given; did you mean 'nets/a.py:small'\?",
        ),
        (
            "model,acc\nresnet,\n",
            None,
            r"line 2: 'resnet' is none of the networks that were given; "
            r"name it on the command line too, or take the line out",
        ),
        ('model,acc\n"net,71\n', None, r"not a CSV table \(.*\)"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(table: Path, text: str, metric: str | None, message: str) -> None:
    with pytest.raises(CgirError) as error:
        values(table, text, metric)
    assert re.fullmatch(re.escape(str(table)) + "[:,] " + message, str(error.value))


def test_what_is_no_text_is_said(table: Path) -> None:
    table.write_bytes(b"model,acc\n\xff\xfe\x00,1\n")
    with pytest.raises(CgirError, match="not a CSV table"):
        read_labels(table)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.text("abc,;\"' :/.", min_size=1).map(str.strip).filter(bool), st.floats(allow_infinity=False), min_size=1
    )
)
def test_whatever_the_csv_module_writes_is_read_back(tmp_path: Path, measured: dict[str, float]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([("model", "acc"), *measured.items()])
    (tmp_path / "any.csv").write_text(text.getvalue(), encoding="utf-8", newline="")
    found: LabelColumn = read_labels(tmp_path / "any.csv")
    assert same(found.join(list(measured)).tolist(), list(measured.values()))
