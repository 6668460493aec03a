"""Graphs with strange names and numbers: refused by `verify`, or saved, printed and drawn like others."""

from dataclasses import replace

import pytest
from cgir_samples import small_graph
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cgir import InvalidGraphError, load, verify
from cgir.drawing import summary, to_svg
from cgir.graph import Gap, Graph, Node, Param

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=5)  # also half surrogates and control characters
NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.booleans(), st.floats(allow_nan=False), ANY_TEXT)


@st.composite
def strange_graphs(draw):
    shape = (draw(st.sampled_from([1, 7, 2**62, 2**63])),)
    params = (Param(draw(ANY_TEXT), shape),)
    attrs = ((draw(ANY_TEXT), draw(st.one_of(NUMBERS, st.tuples(NUMBERS, NUMBERS)))),)
    node = Node("ReLU", (0,), (shape,), shape, params, attrs, draw(ANY_TEXT), draw(ANY_TEXT))
    nodes = (Node("Input", shape=shape), node, Node("Output", (1,), (shape,), shape))
    return Graph(nodes, draw(ANY_TEXT), "raw", ((draw(ANY_TEXT), 1),), (), (Gap("FLOPs", draw(ANY_TEXT)),))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(strange_graphs())
def test_what_verify_accepts_is_saved_printed_and_drawn(tmp_path, graph):
    try:
        verify(graph)
    except InvalidGraphError as error:
        str(error).encode()
        with pytest.raises(InvalidGraphError):
            graph.save(tmp_path / "g.json")
        return
    graph.save(tmp_path / "g.json")
    back = load(tmp_path / "g.json")
    assert (back, back.notes, back.known_gaps) == (graph, graph.notes, graph.known_gaps)
    for text in (graph.report(), str(graph), summary(graph), graph.to_dot()):
        text.encode()
    to_svg(graph, tmp_path / "g.svg")
    graph.to_html(tmp_path / "g.html")


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (lambda g: replace(g, name=b"net"), "its name must be a string"),
        (lambda g: replace(g, name="a\ud800"), "name 'a.*half a surrogate"),
        (lambda g: replace(g, notes=(("\udfff", 1),)), "note .* half a surrogate"),
        (lambda g: replace(g, known_gaps=(Gap("FLOPs", "\ud800"),)), "known gap .* half a surrogate"),
        (lambda g: with_last(g, name="\ud83d"), "name or module of a node .* half a surrogate"),
        (lambda g: with_last(g, module="\ud83d"), "name or module of a node .* half a surrogate"),
        (lambda g: with_last(g, params=(Param("\ud83d", (1,)),)), "parameter or attribute .* half a surrogate"),
        (lambda g: with_last(g, attrs=(("\ud83d", 1),)), "parameter or attribute .* half a surrogate"),
        (lambda g: with_last(g, attrs=(("a", ("x", "\ud83d")),)), "attribute a=.* must be a bool"),
        (lambda g: with_last(g, attrs=(("a", 2**64),)), "attribute a=.* must be .*64 bits"),
        (lambda g: with_last(g, params=(Param("a", (2**32, 2**31)),)), r"product below 2\^63"),
        (lambda g: with_last(g, shape=(2**21,) * 3), r"product below 2\^63"),
        (lambda g: with_last(g, attrs=(("trips", "a"),)), "FLOPs do not follow"),
        (lambda g: with_last(g, attrs=(("flops", float("inf")),)), "FLOPs do not follow"),
        (lambda g: with_last(g, op="MatMul", attrs=(("inner", "é"),)), "FLOPs do not follow"),
        (lambda g: with_last(g, op="Attention", in_shapes=((),)), "FLOPs do not follow"),
    ],
)
def test_names_and_numbers_that_no_file_or_machine_holds(changed, problem):
    with pytest.raises(InvalidGraphError, match=problem):
        verify(changed(small_graph()))


def with_last(graph, **fields):
    return replace(graph, nodes=(*graph.nodes[:-1], replace(graph.nodes[-1], **fields)))


def test_surrogate_pairs_are_one_character(tmp_path):
    graph = replace(small_graph(), name="\U0001f600")
    graph.save(tmp_path / "g.json")
    assert load(tmp_path / "g.json").name == "\U0001f600"
