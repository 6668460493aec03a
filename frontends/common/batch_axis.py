"""The batch axis of graph inputs: where it is, how many examples it holds, and which inputs have none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from cgir import Graph, TraceError
from cgir.graph import Gap

from .tape import Tape
from .trace_request import BatchAxis

SAY_BATCH = "say with batch= (--batch) which axis is the batch, or batch=None (--batch none) if there is none"


class BatchPlan(NamedTuple):
    """Where the batch is.

    Attributes:
        axes: the batch axis of each input, None where it has none.
        examples: size of the batch, by which costs are divided.
        described: for messages: the axis, and the input that `examples` was read from.
        gaps: inputs that seem to have a batch of another size.
        sliced: whether the inputs are cut to their first example.
    """

    axes: tuple[int | None, ...]
    examples: int = 1
    described: str = "no axis"
    gaps: tuple[Gap, ...] = ()
    sliced: bool = False

    def one_example(self) -> BatchPlan:
        """The plan for inputs that are cut to their first example."""
        return self._replace(examples=1, sliced=True)

    def sizes(self, inputs: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
        """The sizes of the inputs with `examples` on their batch axes."""
        return [
            tuple(self.examples if axis == batch_axis else n for axis, n in enumerate(size))
            for size, batch_axis in zip(inputs, self.axes, strict=True)
        ]

    def tape(self, strict: bool) -> Tape:
        """A new tape for inputs with these axes; `strict` as of the tape."""
        tape = Tape(self.examples, strict)
        tape.sliced = self.sliced
        tape.gaps.extend(self.gaps)
        return tape

    def without_batch(self) -> BatchPlan:
        """The plan for `batch=None`."""
        return BatchPlan((None,) * len(self.axes))

    def conflict_gaps(self, conflicts: Sequence[str]) -> tuple[Gap, ...]:
        """Gaps for operators that take another axis for the batch, which matters where there are several examples."""
        divided = f"costs were divided by the {self.examples} examples on {self.described}; {SAY_BATCH}"
        return tuple(Gap("batch", f"{conflict}, but {divided}") for conflict in dict.fromkeys(conflicts))

    def other_batch_gaps(self, others: Sequence[str]) -> tuple[Gap, ...]:
        """Gaps for operators that have several examples on another axis, where the inputs have one."""
        reason = f"but there is one on {self.described}; {SAY_BATCH}"
        return tuple(Gap("batch", f"{other}, {reason}") for other in dict.fromkeys(others))


def graph_of_one_example(
    plan: BatchPlan, batch: BatchAxis, record: Callable[[BatchPlan], tuple[Tape, Graph]], can_cut: bool = True
) -> Graph:
    """The graph of one example: costs are divided by the size of the batch, where every product has a batch axis.

    Where one has none, as those on states of zeros, in loops over the examples and with weights of each example, the
    model is recorded again on inputs cut to one example; where it takes its inputs to have no batch, without one.

    Args:
        plan: where the batch is.
        batch: the argument of `frontends.trace`.
        record: the tape and the graph of the model, on inputs as planned.
        can_cut: whether the model may be recorded on fewer examples.
    """
    tape, graph = record(plan)
    if plan.examples == 1:
        return replace(graph, known_gaps=graph.known_gaps + plan.other_batch_gaps(tape.other_batches))
    conflicts = tape.conflicts or tape.undivided
    if tape.unbatched and batch == 0:
        return record(plan.without_batch())[1]
    if conflicts and can_cut:
        with suppress(TraceError):  # the model may be written for a batch of this size
            single, graph_of_one = record(plan.one_example())
            if not single.conflicts:
                return graph_of_one
    return replace(graph, known_gaps=graph.known_gaps + plan.conflict_gaps(conflicts))


def plan_batch(batch: BatchAxis, inputs: Sequence[tuple[str, Sequence[int]]]) -> BatchPlan:
    """Where the batch of each input is.

    Args:
        batch: the argument of `frontends.trace`.
        inputs: name and size of each.

    Raises:
        TraceError: `batch` is no axis of an input that it names, or the inputs that it names disagree.
    """
    _check(batch, inputs)
    said = batch if isinstance(batch, Mapping) else {}
    default = 0 if isinstance(batch, Mapping) else batch
    axes = [_axis(said.get(name, default), size) for name, size in inputs]
    with_batch = [(name, size, axis) for (name, size), axis in zip(inputs, axes, strict=True) if axis is not None]
    named = [item for item in with_batch if item[0] in said]
    if not with_batch:
        return BatchPlan(tuple(axes))
    first, first_size, first_axis = (named or with_batch)[0]
    examples = max(first_size[first_axis], 1)
    for name, size, axis in named:
        if size[axis] != examples:
            raise TraceError(
                f"batch: input {first!r} has {examples} examples on axis {first_axis}, input {name!r} has {size[axis]} "
                f"on axis {axis}; give None for an input without a batch"
            )
    described = f"axis {first_axis} of input {first!r}"
    others = [item for item in with_batch if item[1][item[2]] not in (1, examples) and examples > 1]
    gaps = tuple(
        Gap("batch", f"input {name!r} has {size[axis]} on axis {axis} and was taken to have no batch, but costs were "
            f"divided by the {examples} examples on {described}; {SAY_BATCH}")
        for name, size, axis in others
    )  # fmt: skip
    kept = tuple(
        axis if axis is not None and size[axis] == examples else None
        for (_, size), axis in zip(inputs, axes, strict=True)
    )
    return BatchPlan(kept, examples, described, gaps)


def _axis(axis: int | None, size: Sequence[int]) -> int | None:
    return axis if axis is not None and axis < len(size) else None


def _check(batch: BatchAxis, inputs: Sequence[tuple[str, Sequence[int]]]) -> None:
    ranks = {name: len(size) for name, size in inputs}
    entries = batch.items() if isinstance(batch, Mapping) else [("", batch)]
    for name, axis in entries:
        if name and name not in ranks:
            raise TraceError(f"batch names input {name!r}, which there is not; inputs are {', '.join(ranks)}")
        largest = ranks[name] if name else max(ranks.values(), default=0)
        if axis is None or (axis == 0 and not name):
            continue
        if type(axis) is not int or not 0 <= axis < largest:
            of = f"input {name!r}, which has" if name else "the inputs, which have"
            raise TraceError(
                f"batch is {axis!r}, expected an axis of {of} {largest} axes: 0 to {largest - 1}, "
                "a dict from input names to axes, or None"
            )
