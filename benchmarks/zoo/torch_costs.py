"""What every corpus of PyTorch modules checks: parameters and FLOPs, raw and canonical, against PyTorch itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

import cgir
import frontends
from frontends.torch.torchvision_ops import declare

META, CPU = torch.device("meta"), torch.device("cpu")
Outcome = dict[str, bool | str | None]  # column -> whether it holds, or why not
Inputs = tuple[Any, ...] | dict[str, Any]  # of a forward, by position or by name
Make = Callable[[], tuple[nn.Module, Inputs]]
CANONICAL = ("canonical parameters", "canonical FLOPs")
COLUMNS = ("traces", "parameters exact", "FLOPs exact", *CANONICAL, "no Opaque")


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


# the CPU's kernel of attention, which the counter does not know
_UNCOUNTED = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}


class Costs(NamedTuple):
    """As PyTorch counts them: elements of the parameters that some operator reads, and FLOPs."""

    parameters: int
    flops: int


class ReadParameters(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees which parameters the operators read."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.unread = {id(parameter) for parameter in parameters}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator, and cross off what it reads."""
        self.see((args, kwargs))
        return func(*args, **(kwargs or {}))

    def see(self, tree: Any) -> None:
        """Cross off the tensors in nested tuples, lists and dictionaries."""
        self.unread.difference_update(id(leaf) for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def checked(make: Make, batch: int | None = 0, devices: tuple[torch.device, ...] = (META, CPU)) -> Outcome:
    """All columns for one module.

    Args:
        make: builds the module and its inputs on the default device.
        batch: axis of the batch; None if there is none.
        devices: the first one on which the module itself runs is taken: some compute with numbers of their buffers.
    """
    declare()
    device, costs = _first_run(make, devices)
    with device:
        model, inputs = make()
    model.eval()
    raw = frontends.trace(model, inputs, raw=True, batch=batch)
    return compared(raw, counted(model, raw), costs)


def compared(raw: cgir.Graph, parameters: Outcome, costs: Costs) -> Outcome:
    """All columns.

    Args:
        raw: the traced module.
        parameters: by `counted`.
        costs: by `measured`.
    """
    graph = cgir.canonicalize(raw)
    cgir.verify(graph)
    return {
        "traces": True,
        **parameters,
        "FLOPs exact": same(raw.flops, costs.flops),
        **canonical_costs(graph, costs),
        "no Opaque": no_opaque([raw]),
    }


def _first_run(make: Make, devices: tuple[torch.device, ...]) -> tuple[torch.device, Costs]:
    errors = []
    for device in devices:
        try:
            with device:
                model, inputs = make()
                return device, measured(model.eval(), inputs)
        except Exception as error:
            errors.append(error)
    raise RuntimeError(f"the module itself does not run: {errors[-1]}") from errors[-1]


def counted(model: nn.Module, raw: cgir.Graph) -> Outcome:
    """Whether the parameters, with those that nothing reads, are the module's."""
    unused = dict(raw.notes).get("unused parameters", 0)
    return {"parameters exact": same(raw.num_params + unused, sum(p.numel() for p in model.parameters()))}


def measured(model: nn.Module, inputs: Inputs, device: torch.device | None = None) -> Costs:
    """What PyTorch counts while the module runs, inside attention too; einsum goes from left to right everywhere.

    Args:
        model: in evaluation mode; its parameters need no gradient afterwards.
        inputs: of its forward.
        device: where it runs; default where its parameters are.
    """
    owners = {name: id(parameter) for name, parameter in model.named_parameters(remove_duplicate=False)}
    sizes = {id(parameter): parameter.numel() for parameter in model.parameters()}
    model.requires_grad_(False)  # the counter's module tracker stumbles over parameters that are expanded
    if device is not None:
        model.to(device)
    moved = dict(model.named_parameters(remove_duplicate=False))  # shared parameters are several ones after a move
    reads = ReadParameters(moved.values())
    with (
        warnings.catch_warnings(action="ignore"),  # of settings that other machines have
        torch.no_grad(),
        torch.backends.opt_einsum.flags(enabled=False),
        torch.backends.mkldnn.flags(enabled=False),  # recurrent layers in one kernel are not counted
        FlopCounterMode(display=False, custom_mapping=_UNCOUNTED) as counter,
        reads,
    ):
        result = model(**inputs) if isinstance(inputs, Mapping) else model(*inputs)
    reads.see(result)  # a parameter may be a result as it is
    used = {owners[name] for name, parameter in moved.items() if id(parameter) not in reads.unread}
    return Costs(sum(sizes[owner] for owner in used), int(counter.get_total_flops()))


def vector_products(case: str) -> dict[str, str]:
    """Exceptions in both columns of FLOPs for a case that multiplies vectors."""
    why = "products of a matrix with a vector, or of two vectors, for which FlopCounterMode has no formula"
    return {f"{case}: {column}": why for column in ("FLOPs exact", "canonical FLOPs")}


def canonical_costs(graph: cgir.Graph, expected: Costs | cgir.Graph) -> Outcome:
    """The columns of the canonical graph, against the framework's own count or the raw graph's."""
    parameters = expected.num_params if isinstance(expected, cgir.Graph) else expected.parameters
    return dict(zip(CANONICAL, (same(graph.num_params, parameters), same(graph.flops, expected.flops)), strict=True))


def no_opaque(graphs: Iterable[cgir.Graph]) -> bool | str:
    """True, or the names of the operators that the vocabulary lacks."""
    names = {str(node.attr("name")) for graph in graphs for node in graph.nodes if node.op == "Opaque"}
    return ", ".join(sorted(names)) or True


def same(found: int, expected: int) -> bool | str:
    """True, or both numbers."""
    return found == expected or f"found {found:,}, expected {expected:,}"
