"""Serialisation of graphs as versioned JSON files: `save` and `load`.

    {"format": "cgir-graph", "version": 1, "name": str, "level": str, "notes": [[str, int], ...], "nodes": [
        {"op": str, "inputs": [int, ...], "in_shapes": [[int, ...], ...], "shape": [int, ...],
         "params": [[id, [int, ...]], ...], "attrs": {str: value}, "name": str, "module": str}, ...],
     "detached": [node, ...], "known_gaps": [[quantity, reason], ...], "checksum": str}

The checksum is that of `checksums`; files of older versions have none. Empty `detached` and `known_gaps` are left
out. Tuples are lists, and infinite attribute values are {"float": "inf"} or {"float": "-inf"}, because JSON has no name
for them.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from .atomic_files import atomic_path
from .checksums import check_json, note_missing, sealed_json
from .errors import FileFormatError, InvalidGraphError, one_line
from .graph import Gap, Graph, Node, Param, attributes
from .strict_json import parse_object
from .verifier import verify

FORMAT = "cgir-graph"
VERSION = 1
_KEYS = {"format", "version", "name", "level", "notes", "nodes", "detached", "known_gaps"}


def save(graph: Graph, path: str | PathLike[str]) -> None:
    """Write `graph` to `path`; an existing file is replaced only once the new one is complete.

    Raises:
        InvalidGraphError: if the graph could not be read back.
    """
    verify(graph)
    data = sealed_json(encode(graph), compact=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def load(path: str | PathLike[str]) -> Graph:
    """Read a graph written by `save`; it is equal to the one saved, and verified.

    Raises:
        FileFormatError: if the file is missing, damaged, foreign or of a newer version.
    """
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise OSError("it is no file")  # a device or pipe may have no end
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or one_line(error, 200)  # the rest of it is a number and the path again
        raise FileFormatError(f"{path}: cannot be read: {why}") from error
    what = "not JSON, so damaged, cut off or not a cgir graph (`cgir trace` makes one of a model)"
    content = parse_object(path, data, what)
    has_checksum = check_json(path, data, content)
    try:
        graph = decode(content)
        verify(graph)
    except (FileFormatError, InvalidGraphError) as error:
        raise FileFormatError(f"{path}: {error}") from error
    if not has_checksum:
        note_missing(path, "load it and save it again")
    return graph


def encode(graph: Graph) -> dict[str, Any]:
    """The graph as JSON values."""
    extra: dict[str, Any] = {"detached": list(map(_encode_node, graph.detached)), "known_gaps": graph.known_gaps}
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": graph.name,
        "level": graph.level,
        "notes": graph.notes,
        "nodes": list(map(_encode_node, graph.nodes)),
        **{key: value for key, value in extra.items() if value},
    }


def _encode_node(node: Node) -> dict[str, Any]:
    return {
        "op": node.op, "inputs": node.inputs, "in_shapes": node.in_shapes, "shape": node.shape,
        "params": node.params, "attrs": {name: encode_value(value) for name, value in node.attrs},
        "name": node.name, "module": node.module,
    }  # fmt: skip


def decode(data: Any) -> Graph:
    """A graph from JSON values; checks their types, not the invariants of the graph, which `verify` checks."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise FileFormatError(f'not a cgir graph: expected an object with "format": "{FORMAT}"')
    version = data.get("version")
    if type(version) is not int or version < 1:
        raise FileFormatError(f"version is {_short(version)}, expected a positive integer")
    if version > VERSION:
        raise FileFormatError(f"version {version} is newer than {VERSION}, the newest this cgir reads; upgrade cgir")
    if unknown := data.keys() - _KEYS:
        raise FileFormatError(f"graph: {min(unknown)!r:.60} is no entry of version {version}; the file is damaged")
    name, level = (_field(data, key, str, "graph") for key in ("name", "level"))
    notes = _field(data, "notes", list, "graph")
    if not all(isinstance(n, list) and len(n) == 2 and isinstance(n[0], str) and type(n[1]) is int for n in notes):
        raise FileFormatError("graph: notes must be pairs of a string and an integer")
    extra: dict[str, Any] = {"detached": [], "known_gaps": []} | data
    gaps = _field(extra, "known_gaps", list, "graph")
    if not all(isinstance(gap, list) and len(gap) == 2 and all(isinstance(part, str) for part in gap) for gap in gaps):
        raise FileFormatError("graph: known_gaps must be pairs of strings")
    nodes, detached = (
        tuple(_decode_node(node, f"{where} {index}") for index, node in enumerate(_field(extra, key, list, "graph")))
        for key, where in (("nodes", "node"), ("detached", "detached node"))
    )
    return Graph(nodes, name, level, tuple(map(tuple, notes)), detached, tuple(Gap(*gap) for gap in gaps))


def _decode_node(data: Any, where: str) -> Node:
    if not isinstance(data, dict):
        raise FileFormatError(f"{where}: expected an object, found {_short(data)}")
    op, name, module = (_field(data, key, str, where) for key in ("op", "name", "module"))
    params = _field(data, "params", list, where)
    if not all(isinstance(p, list) and len(p) == 2 and isinstance(p[0], str) for p in params):
        raise FileFormatError(f"{where}: params must be pairs of an id and a shape")
    return Node(
        op,
        _integers(_field(data, "inputs", list, where), where),
        tuple(_integers(shape, where) for shape in _field(data, "in_shapes", list, where)),
        _integers(_field(data, "shape", list, where), where),
        tuple(Param(identifier, _integers(shape, where)) for identifier, shape in params),
        attributes({key: decode_value(value, where) for key, value in _field(data, "attrs", dict, where).items()}),
        name,
        module,
    )


def _field(data: dict[str, Any], key: str, expected: type, where: str) -> Any:
    if not isinstance(data.get(key), expected):
        raise FileFormatError(f"{where}: {key} is {_short(data.get(key))}, expected {expected.__name__}")
    return data[key]


def _integers(values: Any, where: str) -> tuple[int, ...]:
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise FileFormatError(f"{where}: expected a list of integers, found {_short(values)}")
    return tuple(values)


def encode_value(value: Any) -> Any:
    """An attribute's value as JSON."""
    if isinstance(value, tuple):
        return [encode_value(item) for item in value]
    return {"float": str(value)} if value in (float("inf"), float("-inf")) else value


def decode_value(value: Any, where: str, depth: int = 0) -> Any:
    """An attribute's value from JSON.

    Args:
        value: as parsed by `json`.
        where: file and node, the start of an error message.
        depth: number of lists around it.

    Raises:
        FileFormatError: an attribute cannot have this value.
    """
    if isinstance(value, list) and depth < 32:  # verify allows less; this only keeps the recursion short
        return tuple(decode_value(item, where, depth + 1) for item in value)
    if value in ({"float": "inf"}, {"float": "-inf"}):
        return float(value["float"])
    if not isinstance(value, bool | int | float | str):
        raise FileFormatError(f"{where}: attribute value {_short(value)} is not a number, a string or a list of them")
    return value


def _short(value: Any) -> str:
    """A value for an error message, shortened to 60 characters; its type where it is nested too deeply to print."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."
