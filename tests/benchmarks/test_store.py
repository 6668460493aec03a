"""The benchmark of data sets: peers keep the same graphs, and its two halves fit together."""

import pytest

import frontends
from benchmarks import store


@pytest.mark.parametrize("name", store.PEERS)
def test_peers_give_back_what_they_were_given(name: str) -> None:
    space = frontends.spaces.get("nasbench101", cells=1)
    batch = space.graphs(list(space.enumerate(4))[:9])
    cells = store.compare(name, batch, 2)  # raises where they do not
    assert cells[0] == name
    assert float(cells[1].replace(",", "")) > 0


def test_what_is_written_can_be_read(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = frontends.spaces.get("nasbench101", cells=1)
    specs = list(small.enumerate(4))
    monkeypatch.setattr(type(small), "enumerate", lambda self: iter(specs))
    written = store.write_space(tmp_path / "s", None)
    assert written["graphs"] == len(specs)
    table = dict(store.space_table(tmp_path / "s", written).rows)
    assert table["graphs, nodes, edges"].startswith(f"{len(specs)}, ")
