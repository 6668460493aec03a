"""Graph comparison as text: nodes, modules, kinds and shared parameters in which two graphs differ."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from cgir.graph import Graph, Node, NodeKind
from cgir.limits import DEFAULT, Limits
from cgir.node_text import op_name, operators, shape_text

from .export_diff import explain_export
from .isomorphism import isomorphic
from .weisfeiler_lehman import param_groups

LIMIT = 10  # nodes listed of each sort


def diff(a: Graph, b: Graph, limits: Limits = DEFAULT) -> str:
    """Lines on what distinguishes `a` from `b`; empty if they are isomorphic.

    One line besides sizes and counts where they differ only as an exported file of an untrained network does. Else:
    sizes and operator counts; where they first differ; modules that only one of them has; the first nodes whose
    operators upstream have no counterpart in the other graph; shapes, attributes and parameters of nodes that do
    correspond; and which parameters are shared.

    Args:
        a: one graph.
        b: the other one.
        limits: whose seconds bound each search for an isomorphism.

    Raises:
        LimitError: whether they are isomorphic was not decided within the limit.
    """
    if isomorphic(a, b, limits):
        return ""
    exported = explain_export(a, b, limits)
    if exported.all:
        return "\n".join([*_count_lines(a, b), exported.line])
    first, second = _structural_colors(a, b)
    pairs = _counterparts(a, b, first, second)
    levels = [f"level {a.level} in a, {b.level} in b"] if a.level != b.level else []
    lines = [*levels, *_count_lines(a, b), *_first_lines(a, b, pairs)]
    lines += _listing(_module_lines(a, b, {i for i, _ in pairs}, "a")) + _listing(
        _module_lines(b, a, {j for _, j in pairs}, "b")
    )
    lines += _listing(_parting_lines(a, first, second, "a")) + _listing(_parting_lines(b, second, first, "b"))
    lines += _listing(chain.from_iterable(_kind_lines(a.nodes[i], b.nodes[j], i, j) for i, j in pairs))
    lines += _sharing_lines(a, b, limits)
    lines += [exported.line] if exported.line else []
    return "\n".join(lines or ["every node has a counterpart, but which feeds which differs"])


def _structural_colors(a: Graph, b: Graph) -> tuple[list[int], list[int]]:
    """Colours of all nodes by their operator and those upstream; shapes, attributes and argument order left out."""
    numbers: dict[object, int] = {}
    found: tuple[list[int], list[int]] = [], []
    for graph, node_colors in zip((a, b), found, strict=True):
        for node in graph.nodes:
            upstream = tuple(sorted(node_colors[i] for i in node.inputs))
            node_colors.append(numbers.setdefault((op_name(node), node.op, upstream), len(numbers)))
    return found


def _count_lines(a: Graph, b: Graph) -> Iterator[str]:
    sizes = (
        ("nodes", len(a), len(b)),
        ("edges", a.num_edges, b.num_edges),
        ("parameters", a.num_params, b.num_params),
        ("FLOPs", a.flops, b.flops),
    )
    for quantity, left, right in sizes:
        if left != right:
            yield f"{quantity}: {left:,} in a, {right:,} in b" + (f" ({right / left - 1:+.1%})" if left else "")
    left_counts, right_counts = a.op_counts(), b.op_counts()
    for op in dict.fromkeys([*left_counts, *right_counts]):
        if left_counts.get(op, 0) != right_counts.get(op, 0):
            yield f"{op}: {left_counts.get(op, 0)} in a, {right_counts.get(op, 0)} in b"


def _first_lines(a: Graph, b: Graph, pairs: Sequence[tuple[int, int]]) -> Iterator[str]:
    """The first node of each graph, in recorded order, without an equal counterpart in the other."""
    pairs = [(i, j) for i, j in pairs if a.nodes[i].kind == b.nodes[j].kind]
    texts = []
    for graph, paired in ((a, {i for i, _ in pairs}), (b, {j for _, j in pairs})):
        texts.append(
            next(
                (f"{_node_name(n, i)} {shape_text(n.shape)}" for i, n in enumerate(graph.nodes) if i not in paired), ""
            )
        )
    if any(texts):
        yield "they part at: " + "; ".join(f"{text} in {name}" for text, name in zip(texts, "ab", strict=True) if text)


def _module_lines(graph: Graph, other: Graph, paired: set[int], name: str) -> Iterator[str]:
    """Modules that only this graph has inside a common one, where their nodes have no counterpart in the other."""
    paths = {path for module in {node.module for node in other.nodes} for path in _ancestry(module)}
    first_own: dict[str, str] = {}  # of each module path, the outermost part that the other graph lacks
    for module in {node.module for node in graph.nodes}:
        ancestry = _ancestry(module)
        first_own[module] = next((path for path in ancestry if path not in paths), "")
        if first_own[module] in ancestry[:1]:
            first_own[module] = ""
    extra: dict[str, list[Node]] = defaultdict(list)
    for index, node in enumerate(graph.nodes):
        if first_own[node.module] and index not in paired:
            extra[first_own[node.module]].append(node)
    for path, nodes in extra.items():
        yield f"only in {name}: {operators(nodes)} of module {path}"


def _ancestry(module: str) -> list[str]:
    """a, a.b, a.b.c for a.b.c."""
    parts = module.split(".") if module else []
    return [".".join(parts[: depth + 1]) for depth in range(len(parts))]


def _parting_lines(graph: Graph, node_colors: Sequence[int], other_colors: Sequence[int], name: str) -> Iterator[str]:
    """Nodes without a counterpart whose inputs all have one."""
    available = Counter(other_colors)
    has_counterpart: list[bool] = []
    for index, node in enumerate(graph.nodes):
        has_counterpart.append(available[node_colors[index]] > 0)
        available[node_colors[index]] -= 1
        if not has_counterpart[-1] and all(has_counterpart[i] for i in node.inputs):
            sources = ", ".join(_node_name(graph.nodes[i], i) for i in node.inputs) or "nothing"
            yield f"only in {name}: {_node_name(node, index)} {shape_text(node.shape)}, which reads {sources}"


def _counterparts(a: Graph, b: Graph, first: Sequence[int], second: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of nodes with equal structure upstream: equal kinds first, then by order."""
    equal: dict[tuple[int, NodeKind], deque[int]] = defaultdict(deque)
    alike: dict[int, deque[int]] = defaultdict(deque)
    for j, color in enumerate(second):
        equal[color, b.nodes[j].kind].append(j)
        alike[color].append(j)
    pairs: list[tuple[int, int]] = []
    without_equal: list[int] = []
    for i, color in enumerate(first):
        if same := equal.get((color, a.nodes[i].kind)):
            pairs.append((i, same.popleft()))
        else:
            without_equal.append(i)
    taken = {j for _, j in pairs}
    for i in without_equal:
        left = alike[first[i]]
        while left and left[0] in taken:
            left.popleft()
        if left:
            pairs.append((i, left.popleft()))
    return sorted(pairs)


def kind_changes(a: Node, b: Node) -> list[tuple[str, str, str]]:
    """Attributes, shapes and parameters in which two nodes differ: what, of the first node, of the second."""
    left, right = dict(a.attrs), dict(b.attrs)
    changes = [
        (key, str(left.get(key, "absent")), str(right.get(key, "absent")))
        for key in sorted({*left, *right})
        if left.get(key) != right.get(key)
    ]
    shapes = ((a.shape,), (b.shape,)), (a.in_shapes, b.in_shapes), (a.kind.param_shapes, b.kind.param_shapes)
    named = zip(("output", "inputs", "parameters"), shapes, strict=True)
    return changes + [(what, _shapes(x), _shapes(y)) for what, (x, y) in named if x != y]


def _kind_lines(a: Node, b: Node, i: int, j: int) -> Iterator[str]:
    if a.kind == b.kind:
        return
    changes = (f"{what} {x} in a, {y} in b" for what, x, y in kind_changes(a, b))
    where = _node_name(a, i) if (i, a.module) == (j, b.module) else f"{_node_name(a, i)} / {_node_name(b, j)}"
    yield f"{where}: {'; '.join(changes)}"


def _sharing_lines(a: Graph, b: Graph, limits: Limits) -> list[str]:
    uses = [sorted(Counter(param_groups(graph) or []).values(), reverse=True) for graph in (a, b)]
    left, right = ([count for count in counts if count > 1] for counts in uses)
    if left != right:
        return [f"parameters used more than once: {len(left)} in a (uses {left}), {len(right)} in b (uses {right})"]
    if left and isomorphic(_unshared(a), _unshared(b), limits):
        return [f"both share {len(left)} parameters, but between different nodes"]
    return []


def _unshared(graph: Graph) -> Graph:
    """The graph with a separate parameter in every slot."""
    return graph.with_nodes(
        replace(node, params=tuple(param._replace(id=f"{index}.{slot}") for slot, param in enumerate(node.params)))
        for index, node in enumerate(graph.nodes)
    )


def _node_name(node: Node, index: int) -> str:
    return f"node {index} {op_name(node)}" + (f" ({node.module})" if node.module else "")


def _shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    return " ".join(map(shape_text, shapes)) or "none"


def _listing(lines: Iterator[str]) -> list[str]:
    """At most `LIMIT` lines, and how many more there would be."""
    found = list(lines)
    return found if len(found) <= LIMIT else [*found[:LIMIT], f"... and {len(found) - LIMIT} more of this sort"]
