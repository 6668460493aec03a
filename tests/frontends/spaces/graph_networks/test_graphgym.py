"""GraphGym's design space: strings, the budget, parameters of every published training, its 96 networks."""

from __future__ import annotations

import pytest
from space_checks import check_traces, rows

import cgir
from frontends import spaces
from frontends.spaces.graph_networks.graphgym_spec import LEVELS, TASKS, count_parameters, width_of

SPEC = "pre=1;mp=4;post=2;stage=skipsum;agg=mean;bn=True;act=prelu"
BAD = (
    (SPEC.replace(";act=prelu", ""), "expected pre=..;mp=..;"),
    (SPEC.replace("mp=4", "mp=5"), "mp 0 of .* is '5'; expected one of 2, 4, 6, 8"),
    (SPEC.replace("skipsum", "skip"), "expected one of skipconcat, skipsum, stack"),
    (SPEC.replace("True", "1"), "expected one of True, False"),
    (SPEC.replace("pre=1;mp=4", "mp=4;pre=1"), "expected pre=..;mp=..;"),
)


def spec_of(row: dict[str, str]) -> str:
    names = ("l_pre", "l_mp", "l_post", "stage", "agg", "bn", "act")
    return ";".join(f"{name.removeprefix('l_')}={row[name]}" for name in names)


def space_of(row: dict[str, str], **size: int) -> spaces.Space:
    level = {"link_pred": "link"}.get(row["task"], row["task"])
    return spaces.get("graphgym", level=level, **TASKS[row["dataset"]]._asdict(), **size)


@pytest.mark.parametrize(("text", "complaint"), BAD)
def test_bad_strings_are_named(text: str, complaint: str) -> None:
    with pytest.raises(cgir.SpecError, match=f"graphgym: .*{complaint}") as caught:
        spaces.get("graphgym").parse(text)
    assert "\n" not in str(caught.value)


def test_every_published_count_of_parameters() -> None:
    """Of the rows whose kind of layer is known; widths are listed for natural graphs of the condensed space."""
    found, published, widths = [], [], 0
    for row in rows("more/graphgym_design_space.csv.gz"):
        if row["space"] != "v1att":
            space = space_of(row)
            spec, task = space.parse(spec_of(row)), TASKS[row["dataset"]]
            level = space.level  # type: ignore[attr-defined]
            width = width_of(spec, level, task.budget_features)
            found.append(count_parameters(spec, width, task.features, task.classes, level))
            published.append(float(row["params"]))
            if row["space"] == "v2" and row["dataset"] not in ("scalefree", "smallworld"):
                assert width == int(row["dim_inner"])
                widths += 1
    assert len(found) == 7_446
    assert found == published
    assert widths == 12 * 96


def test_modules_and_graphs_have_the_published_parameters() -> None:
    table = [row for row in rows("more/graphgym_design_space.csv.gz") if row["space"] != "v1att"]
    for row in table[::150]:
        space = space_of(row, nodes=4, edges=12)
        spec = space.parse(spec_of(row))
        count = sum(parameter.numel() for parameter in space.module(spec).parameters())
        assert count == space.graph(spec).num_params == float(row["params"])


def test_the_condensed_space_has_96_networks() -> None:
    published = {spec_of(row) for row in rows("more/graphgym_design_space.csv.gz") if row["space"] == "v2"}
    space = spaces.get("graphgym")
    listed = {
        space.format(spec)
        for spec in space.enumerate()
        if spec.bn and spec.act == "prelu" and spec.stage != "stack" and spec.l_pre < 3 and spec.l_post > 1
    }
    assert listed == published
    assert len(listed) == 96


@pytest.mark.parametrize("level", LEVELS)
def test_graphs_of_all_levels_are_the_traced_networks(level: str) -> None:
    check_traces(spaces.get("graphgym", features=5, classes=3, level=level, nodes=30, edges=60), 12, seed=2)
