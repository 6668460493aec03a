"""Limits of what a file may take, and the error that names them."""

import argparse

import pytest

from cgir import CgirError, FileFormatError, LimitError, Limits, TraceError
from cgir.cli.options import add_limits_option


def test_what_is_beyond_a_limit_is_refused_with_its_name_and_how_to_raise_it():
    limits = Limits(nodes=10)
    limits.check("nodes", 10, "m.onnx")
    with pytest.raises(LimitError, match=r"m\.onnx: takes 1.1e\+15 nodes, more than the limit of 10; .*Limits\(nodes="):
        limits.check("nodes", 1.1e15, "m.onnx")


def test_a_number_without_a_float_is_refused_as_any_other():
    with pytest.raises(LimitError, match="takes more than 1e300 nodes"):
        Limits().check("nodes", 10**400, "m.pb")


def test_a_limit_error_is_what_readers_of_files_and_of_models_promise():
    assert issubclass(LimitError, TraceError)
    assert issubclass(LimitError, FileFormatError)


def test_limits_from_text_keep_the_others():
    assert Limits(depth=7).changed("nodes=5e6, seconds=2.5") == Limits(nodes=5_000_000, depth=7, seconds=2.5)


@pytest.mark.parametrize("text", ["", "nodes=1,,", "colour=3", "=3"])
def test_other_names_are_an_error_that_lists_the_limits(text):
    with pytest.raises(CgirError, match=r"names no limit; expected .* nodes, bytes, depth, seconds"):
        Limits().changed(text)


@pytest.mark.parametrize("text", ["nodes", "nodes=", "nodes=-1", "nodes=nan", "nodes=inf", "nodes=2.5", "nodes=16GB"])
def test_other_values_are_an_error_that_shows_the_value(text):
    with pytest.raises(CgirError, match=r"nodes is '.*', expected a positive number such as 1000000"):
        Limits().changed(text)


def test_repeated_options_add_up():
    parser = argparse.ArgumentParser()
    add_limits_option(parser)
    assert parser.parse_args([]).limits == Limits()
    given = parser.parse_args(["--limits", "nodes=10", "--limits", "depth=5,seconds=2"])
    assert given.limits == Limits(nodes=10, depth=5, seconds=2)


@pytest.mark.parametrize("value", [0, -1, float("nan"), "7", True, None])
def test_a_limit_is_a_positive_number(value):
    with pytest.raises(CgirError, match=r"nodes is .*expected a positive number"):
        Limits(nodes=value)
