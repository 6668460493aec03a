"""The latency benchmark goes on where it was interrupted, and its tables say what the rows do."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmarks import latency
from benchmarks.latency import Network

CHOSEN = [Network(space, text) for space in ("mnasnet", "ofa_mbv3", "proxylessnas") for text in "ab"]
TIMES = {network: 1.0 + index for index, network in enumerate(CHOSEN)}


def row(network: Network, number: int) -> dict[str, Any]:
    milliseconds = TIMES[network] + 0.2 * number
    clocks = dict.fromkeys(latency.CLOCKS, milliseconds)
    return {"round": number, **network._asdict(), **clocks, "flops": 1e6 * TIMES[network], "params": -TIMES[network]}


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Network]]:
    """What was measured, in order."""
    made: list[tuple[int, Network]] = []

    def visit(network: Network, number: int) -> dict[str, Any]:
        made.append((number, network))
        if len(made) == 8:
            raise KeyboardInterrupt
        return row(network, number)

    monkeypatch.setattr(latency, "visit", visit)
    return made


def test_an_interrupted_benchmark_goes_on(visits: list[tuple[int, Network]], tmp_path: Path) -> None:
    path = tmp_path / "latency" / "rows.jsonl"
    with pytest.raises(KeyboardInterrupt):
        latency.measure(CHOSEN, path)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"round": 1, "spa')
    rows = latency.measure(CHOSEN, path)
    assert len(rows) == len(CHOSEN) * latency.ROUNDS
    assert len(visits) == len(rows) + 1  # the interrupted one twice
    assert {network for number, network in visits[:6]} == set(CHOSEN)  # a round is over before the next begins
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == rows


def test_tables_say_what_the_rows_do() -> None:
    rows = [row(network, number) for number in range(2) for network in CHOSEN]
    first, second = latency.passes(rows, CHOSEN, "cpu_ms")
    assert first.tolist() == [TIMES[network] for network in CHOSEN]
    apart = 0.2 / np.array([(a + b) / 2 for a, b in zip(first, second, strict=True)])
    line = latency.repeatability(rows, CHOSEN).rows[2]
    assert line[1:4] == ("1.0000", f"{np.median(apart):.1%}", f"{np.quantile(apart, 0.9):.1%}")
    by_space = {line[0]: line for line in latency.correlations(rows, CHOSEN).rows}
    assert by_space["mnasnet"][1:3] == ("2", "1.1 to 2.1")
    costs = [1e6 * TIMES[network] for network in CHOSEN]
    assert float(by_space["all"][4]) == pytest.approx(spearmanr(costs, first).statistic, abs=1e-3)
    assert float(by_space["all"][5]) == -1


def test_networks_are_the_same_every_time() -> None:
    if not os.environ.get("CGIR_DATA"):
        pytest.skip("needs the label tables: set CGIR_DATA")
    all_of_them = latency.networks(latency.NETWORKS)
    assert latency.networks(60) == all_of_them[:60]
    assert len(set(all_of_them)) == latency.NETWORKS
    counts = Counter(network.space for network in all_of_them)
    assert counts == {"ofa_mbv3": 140, **latency.SAMPLED}
