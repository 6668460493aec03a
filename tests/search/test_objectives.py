"""Objectives and limits as text, costs of graphs against loops over their nodes, and answers of oracles."""

from __future__ import annotations

import operator
import time
from collections.abc import Mapping
from fractions import Fraction
from math import inf, isnan, nan
from typing import Any

import numpy as np
import pytest
import torch

import frontends
from cgir.errors import CgirError
from search.objectives import (
    COSTS,
    Limit,
    Objective,
    asked,
    check_answer,
    costs,
    parse_limits,
    parse_objectives,
)


def test_objectives_are_read() -> None:
    assert parse_objectives("accuracy") == (Objective("accuracy", True),)
    assert parse_objectives("-latency_ms") == (Objective("latency_ms", False),)
    found = parse_objectives(["+accuracy", "-flops", "val/top-1", " -params "])
    assert [objective.text for objective in found] == ["accuracy", "-flops", "val/top-1", "-params"]
    assert [objective.sign for objective in found] == [1, -1, 1, -1]
    assert [objective.from_graph for objective in found] == [False, True, False, True]
    assert parse_objectives([objective.text for objective in found]) == found
    assert parse_objectives("flops") == (Objective("flops", True),)  # unusual, and allowed


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        ([], "objectives: there is none"),
        ("", "'' is no objective"),
        (["accuracy", "-accuracy"], r"accuracy stands 2 times in \['accuracy', '-accuracy'\]"),
        ("accuracy,-flops", "'accuracy,-flops' is no objective; .* a list of them"),
        (["--flops"], "'--flops' is no objective"),
        (["accuracy", None], "None is no objective"),
        (["accuracy", "-FLOPs"], "objectives: 'FLOPs' is spelled 'flops', a cost of the graph"),
        (["accuracy", 3], "3 is no objective"),
        ({"accuracy": 1}, "expected text such as"),
        (None, "found None; expected text such as"),
    ],
)
def test_bad_objectives_are_refused(objectives: Any, message: str) -> None:
    with pytest.raises(CgirError, match=message) as caught:
        parse_objectives(objectives)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "limit", "canonical"),
    [
        ("flops<300e6", Limit("flops", "<", 300e6), "flops<300000000"),
        ("flops < 300M", Limit("flops", "<", 300e6), "flops<300000000"),
        ("params <= 5e6", Limit("params", "<=", 5e6), "params<=5000000"),
        ("params<=.5k", Limit("params", "<=", 500), "params<=500"),
        ("memory<1.5 G", Limit("memory", "<", 1.5e9), "memory<1500000000"),
        (" accuracy>70 ", Limit("accuracy", ">", 70), "accuracy>70"),
        ("latency_ms>=.1", Limit("latency_ms", ">=", 0.1), "latency_ms>=0.1"),
        ("loss > -1e-3", Limit("loss", ">", -0.001), "loss>-0.001"),
        ("flops<1e30", Limit("flops", "<", 1e30), "flops<1e+30"),
    ],
)
def test_limits_are_read(text: str, limit: Limit, canonical: str) -> None:
    assert parse_limits(text) == parse_limits([text]) == ((limit,), ())
    assert limit.text == canonical
    assert parse_limits(canonical) == ((limit,), ())


@pytest.mark.parametrize("relation", ["<", "<=", ">", ">="])
def test_limits_hold_as_in_python(relation: str) -> None:
    compare = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}[relation]
    values = np.array([-inf, 1.0, 2.0, 3.0, inf, nan])
    (limit,), _ = parse_limits(f"x{relation}2")
    assert limit.holds(values).tolist() == [not isnan(value) and compare(value, 2.0) for value in values.tolist()]


def test_limits_and_functions_are_told_apart() -> None:
    def is_small(spec: Any) -> bool:
        return len(spec) < 3

    limits, rules = parse_limits(["flops<3G", is_small, "accuracy>70", "flops<2G"])
    assert [limit.text for limit in limits] == ["flops<3000000000", "accuracy>70", "flops<2000000000"]
    assert rules == (is_small,)
    assert parse_limits(is_small) == ((), (is_small,))
    assert parse_limits(()) == ((), ())


@pytest.mark.parametrize(
    "text", ["", "flops", "flops=3", "flops==3", "flops<", "<3", "3<flops", "flops<3m", "flops<3 4", "flops<nan",
             "flops<inf", "1<flops<3", "flops<1e999", "flops<3e6,params<2", "flops<300B", 3, None],
)  # fmt: skip
def test_malformed_limits_are_named(text: Any) -> None:
    with pytest.raises(CgirError) as caught:
        parse_limits([text])
    assert str(caught.value).startswith(f"limits: {text!r} is no limit; expected a name, one of < <= > >= and a number")
    assert '"flops<300e6"' in str(caught.value)


def test_a_cost_in_other_letters_is_not_asked() -> None:
    with pytest.raises(CgirError, match="limits: 'Params' is spelled 'params', a cost of the graph"):
        parse_limits("Params<5M")


@pytest.mark.parametrize("limits", [["flops<1e6", "flops>2e6"], ["x>1", "x<1"], ["x>=1", "x<1"], ["x<=1", "x>1"]])
def test_contradictions_are_refused(limits: list[str]) -> None:
    for given in (limits, limits[::-1], [*limits, "accuracy>2"]):
        with pytest.raises(CgirError, match="contradict each other"):
            parse_limits(given)


def test_ranges_are_no_contradiction() -> None:
    for limits in (["x>1", "x<2"], ["x>=1", "x<=1"], ["x<1", "y>2"], ["x<1", "x<2"], ["x>1", "x>=1"]):
        assert len(parse_limits(limits)[0]) == 2


@pytest.mark.parametrize("limits", [None, 3, {"flops": 3}, {"flops<3"}])
def test_limits_are_a_list(limits: Any) -> None:
    with pytest.raises(CgirError, match=r"limits: found .*; expected text such as"):
        parse_limits(limits)


def test_what_is_asked_and_what_the_graph_tells() -> None:
    objectives = parse_objectives(["accuracy", "-flops", "-latency_ms"])
    limits, _ = parse_limits(["energy<3", "params<5M", "accuracy>70", "flops<1G"])
    assert asked(objectives, limits) == ("accuracy", "latency_ms", "energy")
    assert costs(objectives, limits) == ("flops", "params")
    assert asked(parse_objectives("-memory")) == ()


@pytest.mark.parametrize(
    "answer",
    [3, 3.0, Fraction(6, 2), np.float32(3), np.int64(3), np.array(3.0), np.array([3.0]), torch.tensor(3),
     torch.ones(1) * 3, torch.tensor(3.0, requires_grad=True), np.longdouble(3)],
    ids=lambda answer: type(answer).__name__,
)  # fmt: skip
def test_scalars_are_numbers(answer: Any) -> None:
    for found in (check_answer(answer, ["accuracy"]), check_answer({"accuracy": answer}, ["accuracy"])):
        assert found == {"accuracy": 3.0}
        assert type(found["accuracy"]) is float


@pytest.mark.parametrize("answer", [nan, inf, -inf, np.float32(inf), torch.tensor(nan), 10**400])
def test_what_is_not_finite_has_failed(answer: Any) -> None:
    assert isnan(check_answer(answer, ["accuracy"])["accuracy"])


@pytest.mark.parametrize(
    "answer", [None, "93", b"93", np.str_("93"), [93.0], (93.0,), True, np.True_, torch.tensor(True), 3 + 4j,
               np.complex64(3), np.zeros(2), torch.zeros(2), object],
    ids=lambda answer: type(answer).__name__,
)  # fmt: skip
def test_what_is_no_number_is_refused(answer: Any) -> None:
    for given in (answer, {"accuracy": answer}):
        with pytest.raises(CgirError, match="for accuracy; expected a number, NaN where a network failed") as caught:
            check_answer(given, ["accuracy"])
        assert "\n" not in str(caught.value)


def test_mappings_are_read_by_name() -> None:
    class Lazy(Mapping[str, Any]):
        def __getitem__(self, name: str) -> Any:
            return {"epochs": 12, "latency_ms": 2, "accuracy": 93.5, "notes": "fine", "converged": True}[name]

        def __iter__(self) -> Any:
            return iter(("epochs", "latency_ms", "accuracy", "notes", "converged"))

        def __len__(self) -> int:
            return 5

    found = check_answer(Lazy(), ["accuracy", "latency_ms"])
    assert list(found.items()) == [("accuracy", 93.5), ("latency_ms", 2.0), ("epochs", 12.0)]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"accuracy": 93}, "an objective nobody computes: the oracle answered accuracy, but accuracy, latency_ms are "
                           "asked, and latency_ms is missing"),
        ({}, "the oracle answered nothing, but accuracy, latency_ms are asked, and accuracy, latency_ms is missing"),
        (93.0, "the oracle answered 93.0, but accuracy, latency_ms are asked; expected a mapping"),
        ([93.0, 2.0], r"the oracle answered \[93.0, 2.0\], but .*; expected a mapping"),
        (None, "the oracle answered None, but .*; expected a mapping"),
        ({"accuracy": 93, "latency_ms": "2"}, "the oracle answered '2' for latency_ms; expected a number"),
    ],
)  # fmt: skip
def test_several_objectives_need_all_names(answer: Any, message: str) -> None:
    with pytest.raises(CgirError, match=message):
        check_answer(answer, ["accuracy", "latency_ms"])


def test_costs_are_those_of_each_graph() -> None:
    space = frontends.spaces.get("nasbench201")
    rng = np.random.default_rng(0)
    specs = [space.sample(rng) for _ in range(10)]
    graphs = [space.graph(spec) for spec in specs]
    batch = space.graphs(specs)
    assert COSTS["flops"](batch).tolist() == [graph.flops for graph in graphs]
    assert COSTS["params"](batch).tolist() == [graph.num_params for graph in graphs]


def test_costs_of_thousands_of_networks_take_a_second() -> None:
    space = frontends.spaces.get("nasbench201")
    rng = np.random.default_rng(0)
    batch = space.graphs([space.sample(rng) for _ in range(2000)])
    start = time.perf_counter()
    for cost in COSTS.values():
        cost(batch)
    assert time.perf_counter() - start < 0.5
