"""The campaign of killed writers: it finds a writer that leaves half a file, and nothing wrong with ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.fuzz import kills

GRAPH = next(scenario for scenario in kills.SCENARIOS if scenario.title == "Graph.save")


@pytest.mark.slow
@pytest.mark.parametrize("title", [scenario.title for scenario in kills.SCENARIOS])
def test_nothing_is_lost(title: str) -> None:
    (scenario,) = (one for one in kills.SCENARIOS if one.title == title)
    counts = kills.run(scenario, 4, 1)
    assert counts.kills >= 4
    assert (counts.unreadable, counts.wrong, counts.leftovers, counts.problems) == (0, 0, 0, [])


def test_a_careless_writer_is_found() -> None:
    def careless(folder: Path) -> None:
        temporary = folder / f"{os.getpid()}"
        with open(temporary, "w") as file:
            os.fsync(file.fileno())
        os.replace(temporary, folder / "g.json")  # empty
        kills._long(kills.GRAPHS[1], "new").save(folder / "g.json")

    counts = kills.run(GRAPH._replace(act=careless), 12, 0)
    assert counts.unreadable
    assert counts.leftovers
