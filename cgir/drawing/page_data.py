"""A graph as the JSON that its page reads: distinct node kinds, the nodes as columns, and its blocks.

Items are numbered: nodes as in the graph, then blocks, of which the first is the whole graph; each stands before those
inside.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from cgir.errors import printable
from cgir.graph import Graph, NodeKind
from cgir.node_text import compact, heading, node_category, op_name, operators, shape_text, title
from cgir.report import costs, report, total_texts

from .block_names import common_prefix_length, join_path, relative, span
from .importance import Scale, Shading
from .module_blocks import MAX_BOXES, Block, ModuleTree, Nodes

NAME = 500  # characters of a name
FEW = 12  # nodes without modules of their own that are called by their operators
LISTED = 50  # parameters of a node, as many as the page shows


def page_data(
    graph: Graph, depth: int | None = None, full: bool = False, shading: Shading | None = None
) -> dict[str, Any]:
    """All that the page of a graph shows.

    Args:
        graph: to show.
        depth: levels of modules that are open at first; None: as many as can be read.
        full: every block is open at first.
        shading: importance, which then colours the boxes.

    Returns:
        What `json` can write.
    """
    params, products = total_texts(graph)
    cost = costs(graph)
    data: dict[str, Any] = {
        "name": printable(graph.name or "graph", NAME),
        "heading": heading(graph),
        "level": graph.level,
        "report": report(graph),
        "totals": {"params": params, "flops": products},
        "depth": len(graph) + 1 if full else depth,
        "params": [weights for weights, _ in cost],
        "flops": [flops for _, flops in cost],
        "blocks": [list(column) for column in zip(*_blocks(ModuleTree(graph)), strict=True)],
        **_nodes(graph),
    }
    if shading:
        data["importance"] = {
            "nodes": shading.nodes,
            "edges": shading.edges,
            "node_scale": _scale(shading.node_scale),
            "edge_scale": _scale(shading.edge_scale),
            "caption": shading.caption,
        }
    return data


def _scale(scale: Scale) -> dict[str, float | bool]:
    return {"low": scale.low, "high": scale.high, "signed": scale.signed}


def _nodes(graph: Graph) -> dict[str, Any]:
    kinds: dict[NodeKind, int] = {}
    kind = [kinds.setdefault(node.kind, len(kinds)) for node in graph.nodes]
    first = dict(zip(reversed(kind), reversed(graph.nodes), strict=True))
    modules: dict[str, int] = {}
    module = [modules.setdefault(printable(node.module, NAME), len(modules)) for node in graph.nodes]
    rows = {
        index: [[printable(param.id, NAME), shape_text(param.shape)] for param in node.params[:LISTED]]
        + ([["...", f"{len(node.params) - LISTED:,} more"]] if len(node.params) > LISTED else [])
        for index, node in enumerate(graph.nodes)
        if node.params
    }
    return {
        "kinds": [
            {
                "op": printable(op_name(node), NAME),
                "title": printable(title(node), NAME),
                "category": node_category(node),
                "shape": shape_text(node.shape),
                "inputs": [shape_text(shape) for shape in node.in_shapes[:LISTED]],
                "attrs": [[printable(key, NAME), printable(compact(value), NAME)] for key, value in node.attrs],
            }
            for _, node in sorted(first.items())
        ],
        "kind": kind,
        "inputs": [node.inputs for node in graph.nodes],
        "names": {index: printable(node.name, NAME) for index, node in enumerate(graph.nodes) if node.name},
        "modules": list(modules),
        "module": module,
        "param_rows": rows,
    }


class PageBlock(NamedTuple):
    """A block: `name` of the module, `label` within the block around it, what `sort` it is of, and the items inside."""

    name: str
    label: str
    sort: str
    items: list[int]


def _blocks(tree: ModuleTree) -> list[PageBlock]:
    """The tree of blocks, beginning with the whole graph."""
    size = len(tree.graph)
    blocks = [PageBlock("", "", "graph", [])]
    waiting: list[tuple[int, Nodes]] = [(0, tuple(range(size)))]

    def add(around: int, block: PageBlock) -> int:
        blocks[around].items.append(size + len(blocks))
        blocks.append(block)
        return len(blocks) - 1

    while waiting:
        number, nodes = waiting.pop()
        prefix = join_path(tree.common_path(nodes))
        around = [prefix] if prefix else []
        children = tree.children(nodes, MAX_BOXES)
        for block in children:
            # copies in a row that are all there is need no block around them
            repeats = len(block.copies) > 1 and (len(children) > 1 or block.beside)
            target = add(number, _copies(tree, block, around)) if repeats else number
            for copy in block.copies:
                if len(copy) == 1:
                    blocks[target].items.append(copy[0])
                else:
                    waiting.append((add(target, _block(tree, block, copy, around)), copy))
    return blocks


def _copies(tree: ModuleTree, block: Block, around: list[str]) -> PageBlock:
    """A block of equal blocks."""
    names = [_name(tree, copy) for copy in block.copies]
    name = span(names) if len(set(names)) > 1 else block.name
    first = block.copies[0]
    label = relative(name, around) or (f"{len(first):,} nodes" if len(first) > 1 else title(tree.graph.nodes[first[0]]))
    label = f"{len(block.copies):,} \u00d7 {printable(label, NAME)}"
    return PageBlock(printable(name, NAME), label, "beside" if block.beside else "copies", [])


def _block(tree: ModuleTree, block: Block, copy: Nodes, around: list[str]) -> PageBlock:
    """One copy of a block; without a module of its own it is called by those in it, else the page names its nodes."""
    own = _name(tree, copy)
    name = own if own not in ("", *around) else "" if len(block.copies) > 1 else block.name
    label = relative(name, around) if name else _content(tree, copy, around)
    return PageBlock(printable(name, NAME), printable(label, NAME), "module" if name else "nodes", [])


def _content(tree: ModuleTree, nodes: Nodes, around: list[str]) -> str:
    """Modules of nodes that have no common one, and operators between them; empty for many nodes without modules."""
    if len(nodes) <= FEW and all(tree.paths[index] == tree.paths[nodes[0]] for index in nodes):
        return operators(tree.graph.nodes[index] for index in nodes)
    depth = len(tree.common_path(nodes))
    keys = [join_path(tree.paths[index][: depth + 1]) if len(tree.paths[index]) > depth else "" for index in nodes]
    names = list(dict.fromkeys(key for key in keys if key))
    between = [tree.graph.nodes[index] for index, key in zip(nodes, keys, strict=True) if not key]
    return ", ".join([relative(span(names), around), *([operators(between)] if between else [])]) if names else ""


def _name(tree: ModuleTree, nodes: Nodes) -> str:
    """The module of all these nodes, empty if one has none."""
    paths = [tree.paths[index] for index in nodes]
    return join_path(paths[0][: common_prefix_length(paths)])
