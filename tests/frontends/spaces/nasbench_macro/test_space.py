"""NAS-Bench-Macro: strings and the published costs of all networks."""

from __future__ import annotations

import pytest
from space_checks import assert_refused, check_traces, rows

from frontends import spaces

BAD = (
    ("0101", "4 characters"),
    ("01013210", "character 4"),
)


@pytest.mark.parametrize(("text", "complaint"), BAD)
def test_bad_strings_are_named(text: str, complaint: str) -> None:
    assert_refused(spaces.get("nasbench_macro"), text, complaint)


def test_every_published_cost_of_nasbench_macro() -> None:
    space = spaces.get("nasbench_macro")
    found, published = [], []
    for row in rows("nasbench_macro_cifar10.csv.gz"):
        graph = space.graph(space.parse(row["arch_code8"]))
        found.append((graph.num_params, graph.flops // 2))
        published.append((int(row["params"]), int(row["flops"])))
    assert len(found) == 6561
    assert found == published


def test_graphs_are_the_traced_networks() -> None:
    check_traces(spaces.get("nasbench_macro"), 60, seed=1)
