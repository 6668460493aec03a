import json
import os
import stat

import numpy as np
import pytest
from cgir_samples import random_graph, resnet50, small_graph
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cgir import FileFormatError, InvalidGraphError, isomorphic, load, verify
from cgir.atomic_files import atomic_path
from cgir.graph import Graph, Node
from cgir.serialize import encode, save

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 600),
    st.floats(),
    st.text(max_size=3),
    st.just([]),
    st.just({}),
    st.just([[1]]),
)


def test_round_trip_is_equal(tmp_path):
    rng = np.random.default_rng(0)
    for graph in (small_graph(), resnet50(), random_graph(rng, 30, 0.5)):
        graph.save(tmp_path / "g.json")
        back = load(tmp_path / "g.json")
        assert back == graph
        assert back.notes == graph.notes
        assert back.hash == graph.hash
        assert isomorphic(back, graph)
        assert hash(back) == hash(graph)


def test_kinds_keep_their_types(tmp_path):
    save(small_graph(), tmp_path / "g.json")
    attrs = dict(load(tmp_path / "g.json").nodes[4].attrs)
    assert repr(attrs["table"]) == "((1, 2.5), ('a', True))"
    assert load(tmp_path / "g.json").nodes[3].attr("max") == float("inf")


def test_the_file_is_standard_json(tmp_path):
    save(small_graph(), tmp_path / "g.json")

    def refuse(name):
        raise AssertionError(name)

    data = json.loads((tmp_path / "g.json").read_text(), parse_constant=refuse)
    assert data["format"] == "cgir-graph"
    assert data["version"] == 1


def test_invalid_graphs_are_not_saved_and_leave_the_old_file(tmp_path):
    path = tmp_path / "g.json"
    save(small_graph(), path)
    before = path.read_bytes()
    with pytest.raises(InvalidGraphError):
        save(Graph((Node("Nonsense"),)), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["g.json"]


def outcome(path):
    """Loading may fail in one way only, with one line that names the file; what loads is a valid graph."""
    try:
        graph = load(path)
    except FileFormatError as error:
        message = str(error)
    else:
        verify(graph)
        return graph
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 1000
    return None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_truncated_files(tmp_path, data):
    path = tmp_path / "g.json"
    save(small_graph(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 2))])
    assert outcome(path) is None


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.integers(0, 255))
def test_damaged_bytes(tmp_path, where, value):
    path = tmp_path / "g.json"
    save(small_graph(), path)
    whole = bytearray(path.read_bytes())
    whole[where % len(whole)] = value
    path.write_bytes(whole)
    outcome(path)


def places(value, path=()):
    """All paths into nested JSON values."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


DATA = json.loads(json.dumps(encode(small_graph())))
PLACES = [place for place in places(DATA) if place]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PLACES), SCALARS, st.booleans())
def test_changed_fields(tmp_path, place, value, remove):
    data = json.loads(json.dumps(DATA))
    target = data
    for key in place[:-1]:
        target = target[key]
    if remove:
        del target[place[-1]]
    else:
        target[place[-1]] = value
    path = tmp_path / "g.json"
    path.write_text(json.dumps(data))
    graph = outcome(path)
    if graph is not None:
        save(graph, path)
        assert load(path) == graph


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"a":' * 100_000, "not JSON"),
        ("\xff\xfe", "not JSON"),
        ("1" * 5000, "not JSON"),
        ("[]", "not a cgir graph"),
        ('{"format": "onnx"}', "not a cgir graph"),
        ('{"format": "cgir-graph", "version": 2}', "version 2 is newer than 1.*upgrade"),
        ('{"format": "cgir-graph", "version": "1"}', "version is '1'"),
        ('{"format": "cgir-graph", "version": true}', "version is True"),
        ('{"format": "cgir-graph", "version": 1}', "name is None, expected str"),
    ],
)
def test_foreign_files(tmp_path, text, message):
    path = tmp_path / "g.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(FileFormatError, match=message):
        load(path)


def test_deep_attributes(tmp_path):
    deep = json.loads(json.dumps(DATA))
    nested = 1
    for _ in range(200):
        nested = [nested]
    deep["nodes"][4]["attrs"]["table"] = nested
    path = tmp_path / "g.json"
    path.write_text(json.dumps(deep))
    with pytest.raises(FileFormatError, match="nested 204 deep"):
        load(path)


def test_missing_file_and_folder(tmp_path):
    for path, why in ((tmp_path / "none.json", "No such file or directory"), (tmp_path, "it is no file")):
        with pytest.raises(FileFormatError) as error:
            load(path)
        assert str(error.value) == f"{path}: cannot be read: {why}"


def test_a_device_is_refused_before_it_is_read():
    with pytest.raises(FileFormatError, match="/dev/zero: cannot be read: it is no file"):
        load("/dev/zero")


def test_atomic_path_keeps_the_old_file_on_error(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")

    def fail():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            assert temporary.parent == target.parent
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_atomic_path_names_the_file_that_was_asked_for(tmp_path):
    target = tmp_path / "missing" / "file"
    with pytest.raises(FileNotFoundError) as caught, atomic_path(target) as temporary:
        temporary.write_text("new")
    assert caught.value.filename == str(target)


@pytest.mark.parametrize("fsync", [False, True])
def test_atomic_path_replaces(tmp_path, fsync):
    target, plain = tmp_path / "file", tmp_path / "plain"
    plain.write_text("")
    with atomic_path(target, fsync=fsync) as temporary:
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == ["file", "plain"]
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
