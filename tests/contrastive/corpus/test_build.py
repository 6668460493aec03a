"""The unlabelled corpus: all families, every graph once and valid; reproducible, and resumed after an interruption."""

import json
import logging
import sys

import pytest

from cgir.errors import CgirError
from cgir.store.graph_store import GraphStore
from cgir.verifier import verify
from contrastive.corpus import build, model_zoo, search_spaces
from contrastive.corpus.model_builders import LIBRARIES
from frontends import spaces

SCALE = 1e-4


def content(store):
    return list(zip(store.families, store.specs, store.hashes, strict=True))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The smallest corpus: a network or some of each part."""
    path = tmp_path_factory.mktemp("corpus") / "all"
    return path, build.write_corpus(path, SCALE, zoo=False, seed=3)


def test_every_space_is_there_and_every_graph_once(small):
    path, store = small
    assert set(store.families) == set(spaces.SPACES)
    assert len(set(store.hashes)) == len(store) >= len(search_spaces.PARTS)
    assert not store.labels
    for graph in store:
        verify(graph)
    card = json.loads((path / "corpus.json").read_text())
    assert card["graphs"] == sum(card["families"].values()) == len(store)
    assert card["nodes"] == sum(map(len, store))
    assert [entry.name for entry in path.parent.iterdir()] == ["all"]


SETTLED = [part for part in search_spaces.PARTS if all(len(choices) == 1 for choices in part.skeleton.values())]


@pytest.mark.parametrize("part", SETTLED, ids=lambda part: part.name)
def test_networks_are_those_their_strings_stand_for(part, tmp_path):
    space = spaces.get(part.space, **{name: choice for name, (choice,) in part.skeleton.items()})
    search_spaces.write_part(part, tmp_path / "part", SCALE, seed=0)
    store = GraphStore.open(tmp_path / "part")
    assert store.hashes == [space.graph(space.parse(spec)).hash for spec in store.specs]


def test_scaled_networks_have_other_costs(tmp_path):
    for part in search_spaces.PARTS:
        if part.title == "scaled":
            chunks = 4 * search_spaces.CHUNK / part.count  # each has a skeleton of its own
            search_spaces.write_part(part, tmp_path / part.name, chunks, seed=0)
            firsts = GraphStore.open(tmp_path / part.name).filter(
                range(0, 4 * search_spaces.CHUNK, search_spaces.CHUNK)
            )
            assert (
                len(
                    {
                        (graph.nodes[0].shape, graph.nodes[1].shape, graph.nodes[-1].shape, len(graph))
                        for graph in firsts
                    }
                )
                > 1
            ), part.name


def test_an_interrupted_run_ends_as_an_uninterrupted_one(small, tmp_path, monkeypatch):
    written, write = [], search_spaces.write_part

    def stopped(part, path, scale, seed):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(part.name)
        write(part, path, scale, seed)

    monkeypatch.setattr(search_spaces, "write_part", stopped)
    with pytest.raises(KeyboardInterrupt):
        build.write_corpus(tmp_path / "again", SCALE, zoo=False, seed=3)
    assert not (tmp_path / "again").exists()
    monkeypatch.setattr(
        search_spaces,
        "write_part",
        lambda part, path, scale, seed: (written.append(part.name), write(part, path, scale, seed)),
    )
    store = build.write_corpus(tmp_path / "again", SCALE, zoo=False, seed=3)
    assert sorted(written) == sorted(part.name for part in search_spaces.PARTS)
    assert content(store) == content(small[1])
    build.write_corpus(tmp_path / "again", SCALE, zoo=False, seed=3)  # is done, and not done again
    assert len(written) == len(search_spaces.PARTS)


def test_another_seed_gives_other_networks(small, tmp_path):
    store = build.write_corpus(tmp_path / "other", SCALE, zoo=False, seed=4)
    assert len(set(store.hashes) & set(small[1].hashes)) < len(store) / 2


def test_a_corpus_is_not_replaced_by_another(small, tmp_path):
    with pytest.raises(CgirError, match=r"holds the corpus of .*'seed': 3.*not of .*'seed': 5.*choose another path"):
        build.write_corpus(small[0], SCALE, zoo=False, seed=5)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CgirError, match="exists and is no corpus"):
        build.write_corpus(tmp_path / "file", SCALE, zoo=False)
    with pytest.raises(CgirError, match="expected a positive number"):
        build.write_corpus(tmp_path / "none", 0.0)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "corpus.json").write_text("{}")
    with pytest.raises(CgirError, match="exists and is no corpus"):
        build.write_corpus(tmp_path / "broken", SCALE)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["broken", "file"]
    assert content(GraphStore.open(small[0])) == content(small[1])


def test_command_line(tmp_path, monkeypatch):
    parts = tuple(part for part in search_spaces.PARTS if part.space == "nasbench_nlp")
    monkeypatch.setattr(search_spaces, "PARTS", parts)
    build.main([str(tmp_path / "c"), "--scale", "0.0005", "--no-zoo", "--seed", "1"])
    assert set(GraphStore.open(tmp_path / "c").families) == {"nasbench_nlp"}
    with pytest.raises(SystemExit):
        build.main([str(tmp_path / "c"), "--scale", "0.0005", "--no-zoo", "--seed", "2"])


def test_a_missing_library_is_left_out_with_a_warning(monkeypatch, caplog):
    for name in ("timm", "torchvision", "transformers", "transformers.models.auto.modeling_auto"):
        monkeypatch.setitem(sys.modules, name, None)
    with caplog.at_level(logging.WARNING):
        assert model_zoo.parts(1.0, 0) == []
    assert [record.levelname for record in caplog.records] == ["WARNING"] * len(LIBRARIES)
    assert "pip install timm" in caplog.text
    assert model_zoo.versions() == {}


CASES = {
    "timm": ("resnet18", "vit_tiny_patch16_224", "no_such_model"),
    "torchvision": ("fcn_resnet50",),
    "transformers": ("bert", "bark"),
}


def zoo(library, path):
    model_zoo.write_part(model_zoo.ModelPart(library, 0, CASES[library]), path, seed=0)
    return GraphStore.open(path)


def test_models_are_traced_at_two_sizes_and_mutated(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        stores = {library: zoo(library, tmp_path / library) for library in CASES}
    for library, store in stores.items():
        assert set(store.families) == {library}
        for graph in store:
            verify(graph)
    found = dict(zip(stores["timm"].specs, stores["timm"], strict=True))
    # the parameters that timm publishes for these two; a mutation has others
    assert found["resnet18@224"].num_params == 11_689_512
    assert found["vit_tiny_patch16_224@224"].num_params == 5_717_416
    sizes = {graph.nodes[0].shape for graph in found.values()}
    assert len(sizes) > 1
    [resized] = [
        spec for spec in found if spec.startswith("resnet18@") and "mutation" not in spec and not spec.endswith("@224")
    ]
    assert found[resized].num_params == 11_689_512
    assert found[resized].flops != found["resnet18@224"].flops
    assert sum("mutation" in spec for spec in found) == 2 * model_zoo.NUM_MUTATIONS
    assert "no_such_model: RuntimeError" in caplog.text
    assert "bark" in caplog.text
    assert "timm-00: 12 graphs of 3 models, 1 left out" in caplog.text


def test_equal_seeds_trace_and_mutate_equally(tmp_path):
    assert content(zoo("timm", tmp_path / "a")) == content(zoo("timm", tmp_path / "b"))


def test_what_is_large_or_slow_is_left_out(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(model_zoo, "MAX_NODES", 100)
    with caplog.at_level(logging.INFO):
        assert {spec.partition("@")[0] for spec in zoo("timm", tmp_path / "few").specs} == {"resnet18"}
        monkeypatch.setattr(model_zoo, "TIME_LIMIT", -1.0)
        assert not len(zoo("timm", tmp_path / "none"))
    assert "127 nodes" in caplog.text
    assert "s are over" in caplog.text
