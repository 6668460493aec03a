"""State of fitted predictors: JSON values and tensors, composed of named parts, and their file.

Each estimator, and each of its parts, has `to_state` and `from_state`; one file `predictor.safetensors` in a folder
holds the whole, by the rules of `checkpoints`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array

from cgir.errors import FileFormatError, one_line
from cgir.limits import DEFAULT, Limits
from cgir.typing import AnyArray, FloatArray
from encoders.features.graph_features import GPInputTransform
from encoders.features.scalers import Scaler
from encoders.gaussian_process.regression import FeatureMatrix
from encoders.models.checkpoints import VERSION, Tensors, read_tensors, write_tensors

FILE = "predictor.safetensors"


class State:
    """JSON values and tensors; those of a part `name` are `meta[name]` and the tensors named `name.*`.

    Args:
        meta: JSON values.
        tensors: arrays and weights.
        path: the file it was read from, named in errors.
        limits: of what may be made of it.
    """

    def __init__(
        self,
        meta: Mapping[str, Any] | None = None,
        tensors: Mapping[str, torch.Tensor] | None = None,
        path: str = "",
        limits: Limits = DEFAULT,
    ) -> None:
        self.meta: dict[str, Any] = dict(meta or {})
        self.tensors: Tensors = dict(tensors or {})
        self.path, self.limits = path, limits

    @classmethod
    def of_arrays(cls, **arrays: AnyArray) -> State:
        """A part made of arrays alone."""
        return cls(tensors={name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()})

    def add(self, name: str, part: State | None) -> None:
        """Add a part; None: there is none."""
        if part is not None:
            if part.meta:
                self.meta[name] = part.meta
            self.tensors |= {f"{name}.{key}": tensor for key, tensor in part.tensors.items()}

    def part(self, name: str) -> State | None:
        """A part; None where there is nothing of it."""
        prefix = f"{name}."
        tensors = {key.removeprefix(prefix): x for key, x in self.tensors.items() if key.startswith(prefix)}
        if not tensors and name not in self.meta:
            return None
        if not isinstance(meta := self.meta.get(name, {}), dict):
            raise TypeError(f"{name}: found {meta!r:.60}, expected an object")
        return State(meta, tensors, self.path, self.limits)

    def required(self, name: str) -> State:
        """A part that must be there; KeyError if it is not."""
        part = self.part(name)
        if part is None:
            raise KeyError(name)
        return part

    def parts(self, name: str) -> Iterator[State]:
        """The parts `name.0`, `name.1` and so on."""
        index = 0
        while (part := self.part(f"{name}.{index}")) is not None:
            yield part
            index += 1

    def text(self, name: str) -> str:
        """A string; TypeError if it is something else."""
        if not isinstance(value := self.meta[name], str):
            raise TypeError(f"{name}: found {value!r:.60}, expected text")
        return value

    def count(self, name: str) -> int:
        """A number of things; TypeError if it is something else."""
        if type(value := self.meta[name]) is not int or value < 0:
            raise TypeError(f"{name}: found {value!r:.60}, expected a number of things")
        return value

    def number(self, name: str) -> float:
        """A number; TypeError if it is something else."""
        if type(value := self.meta[name]) not in (int, float):
            raise TypeError(f"{name}: found {value!r:.60}, expected a number")
        return float(value)

    def check_matrix(self, rows: int, columns: int) -> None:
        """Raise LimitError if a matrix that vectors of a file are turned into is too large."""
        self.limits.check("bytes", 8 * rows * columns, f"{self.path}: a matrix of {rows:,} x {columns:,}")

    def array(self, name: str, *shape: int | None) -> AnyArray:
        """An array of finite numbers.

        Args:
            name: of its tensor.
            shape: as it must be; None: an axis of any length.

        Raises:
            KeyError: it is missing.
            ValueError: it has another shape, or holds something else.
        """
        array: AnyArray = self.tensors[name].numpy()
        wrong = any(length not in (None, found) for length, found in zip(shape, array.shape, strict=False))
        if array.dtype.kind not in "fiu" or array.ndim != len(shape) or wrong:
            raise ValueError(f"{name}: {array.dtype} {array.shape}, expected {shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: not all numbers are finite")
        return array


def write_state(folder: str | PathLike[str], state: State) -> None:
    """Write a predictor's state to a folder; an existing one there is replaced as a whole."""
    write_tensors(Path(folder) / FILE, "predictor", state.tensors, state.meta)


@contextmanager
def reading_state(folder: str | PathLike[str], limits: Limits = DEFAULT) -> Iterator[State]:
    """The state that `write_state` wrote.

    Args:
        folder: of the file.
        limits: of what may be made of it.

    Raises:
        FileFormatError: the file is damaged, of an earlier format or something else, or what is built of it inside the
            `with` block fails.
    """
    path = Path(folder) / FILE
    tensors, meta = read_tensors(path, "predictor")
    if meta["version"] < VERSION:
        raise FileFormatError(
            f"{path}: a predictor of format {meta['version']}, this cgir reads format {VERSION}; fit and save it again"
        )
    try:
        yield State(meta, tensors, str(path), limits)
    except FileFormatError:
        raise
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as error:
        raise FileFormatError(
            f"{path}: weights and description do not fit together ({one_line(error, 200)}); save it again"
        ) from error


def scaler_state(scaler: Scaler) -> State:
    """State of a scaler."""
    return State.of_arrays(mean=scaler.mean, scale=scaler.scale)


def scaler_from(state: State, dim: int | None = None) -> Scaler:
    """The scaler of a state, for vectors (G, dim); ValueError if it is for others."""
    mean = state.array("mean", dim)
    return Scaler(mean, state.array("scale", len(mean)))


def add_scalers(state: State, scalers: Sequence[Scaler]) -> None:
    """Add scalers as parts `scalers.0` and so on."""
    for index, scaler in enumerate(scalers):
        state.add(f"scalers.{index}", scaler_state(scaler))


def scalers_from(state: State, views: Sequence[FloatArray]) -> list[Scaler]:
    """What `add_scalers` added, one for each of the dense views (n, D); ValueError if they do not fit."""
    parts = state.parts("scalers")
    return [scaler_from(part, view.shape[1]) for part, view in zip(parts, views, strict=True)]


def views_from(state: State) -> list[FloatArray]:
    """Dense views, in double precision, which are named `views.0` and so on."""
    count = sum(name.startswith("views.") for name in state.tensors)
    return [state.array(f"views.{index}", None, None).astype(np.float64, copy=False) for index in range(count)]


def add_inputs(state: State, transform: GPInputTransform, views: Sequence[FeatureMatrix]) -> None:
    """Add what a Gaussian process sees of graphs, and what it has seen of n of them.

    Args:
        state: to which they are added.
        transform: graphs -> views.
        views: of n graphs, dense ones and the counts of subtrees.
    """
    *dense, subtrees = views
    arrays = {f"views.{index}": np.asarray(view) for index, view in enumerate(dense)}
    state.tensors |= State.of_arrays(subtree_ids=transform.subtree_ids, **arrays).tensors
    add_scalers(state, transform.scalers)
    state.add("subtrees", sparse_state(subtrees))


def inputs_from(state: State, count: int) -> tuple[GPInputTransform, list[FeatureMatrix]]:
    """What `add_inputs` added, of `count` graphs; ValueError if views are of others, LimitError for too many graphs."""
    state.check_matrix(count, count)
    dense = views_from(state)
    transform = GPInputTransform(scalers_from(state, dense), state.array("subtree_ids", None))
    views = [*dense, sparse_from(state.required("subtrees"), len(transform.subtree_ids) + 1)]
    if any(view.shape[0] != count for view in views):
        raise ValueError(f"views of {[view.shape[0] for view in views]} graphs, expected {count}")
    return transform, views


def sparse_state(matrix: FeatureMatrix) -> State:
    """State of a sparse matrix."""
    if not isinstance(matrix, csr_array):
        raise TypeError(f"expected a sparse matrix, found {type(matrix).__name__}")
    indices, indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    return State.of_arrays(data=matrix.data, indices=indices, indptr=indptr)


def sparse_from(state: State, num_columns: int) -> csr_array:
    """The sparse matrix of a state; ValueError for indices outside it, which products would follow out of memory."""
    indices, indptr = state.array("indices", None), state.array("indptr", None)
    data = state.array("data", len(indices)).astype(np.float64, copy=False)
    if not indices.dtype == indptr.dtype == np.int32:
        raise ValueError(f"sparse matrix: indices of {indices.dtype} and {indptr.dtype}, expected int32")
    starts_and_end = len(indptr) and indptr[0] == 0 and indptr[-1] == len(indices)
    if not starts_and_end or (indptr[1:] < indptr[:-1]).any() or ((indices < 0) | (indices >= num_columns)).any():
        raise ValueError(f"sparse matrix: indices outside of its {len(indptr) - 1} rows and {num_columns} columns")
    matrix = csr_array((data, indices, indptr), shape=(len(indptr) - 1, num_columns))
    matrix.check_format(full_check=True)
    return matrix
