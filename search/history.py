"""History of a search: the queried networks with predictions and answers, in order.

On disk it is a label table (`frontends.tables`), so that the answers of one search are labels for the next predictor.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cgir.errors import CgirError, FileFormatError, SpecError, one_line
from cgir.typing import FloatArray
from frontends import spaces
from frontends.spaces import Space
from frontends.tables import SPEC, Table, write_table

COLUMNS = ("value", "predicted", "generation", "asked")
ENTRY, NOTE = b"cgir", "search"  # keys of the metadata: in the schema, and of the config in that entry


@dataclass
class History:
    """The N networks of a search in the order of its queries; `len(history)` is N.

    space: the search space.
    config: the arguments of the search without its budget.
    specs: N of the space's specifications.
    generations: N numbers, ascending from 0.
    predictions: N predicted scores, NaN where the predictor was not queried.
    answers: N scores of the oracle, NaN where a network failed, None where there is none (yet).
    """

    space: Space[Any]
    config: dict[str, Any]
    specs: list[Any] = field(default_factory=list, repr=False)
    generations: list[int] = field(default_factory=list, repr=False)
    predictions: list[float] = field(default_factory=list, repr=False)
    answers: list[float | None] = field(default_factory=list, repr=False)

    def __len__(self) -> int:
        return len(self.specs)

    @property
    def spec_strings(self) -> list[str]:
        """The networks as the space's strings."""
        return [self.space.format(spec) for spec in self.specs]

    @property
    def values(self) -> FloatArray:
        """Scores of the oracle, (N,), higher is better; NaN where a network failed or was not queried."""
        return np.asarray([np.nan if answer is None else answer for answer in self.answers], np.float64)

    @property
    def predicted(self) -> FloatArray:
        """Scores of the predictor before the oracle was queried, (N,); NaN where the predictor was not queried."""
        return np.asarray(self.predictions, np.float64)

    @property
    def scores(self) -> FloatArray:
        """The scores that are maximised, (N,): `values`, or `predicted` in a search without an oracle."""
        return self.values if self.config["oracle"] else self.predicted

    @property
    def running_best(self) -> FloatArray:
        """The best of `scores` up to each query (N,); NaN until a network has one."""
        return np.fmax.accumulate(self.scores)

    @property
    def best(self) -> Any:
        """The spec with the best score, the earliest of equals. CgirError if no network has a score."""
        return self.specs[self._best()]

    @property
    def best_score(self) -> float:
        """The best score. CgirError if no network has one."""
        return float(self.scores[self._best()])

    def top(self, count: int) -> list[int]:
        """Rows of the `count` best scores, best first and the earlier of equals; rows without a score are left out."""
        scores = self.scores
        return [int(row) for row in np.argsort(-scores, kind="stable")[:count] if np.isfinite(scores[row])]

    def pending(self) -> list[int]:
        """Rows that await an answer of the oracle, as after an interruption."""
        return [row for row, answer in enumerate(self.answers) if answer is None] if self.config["oracle"] else []

    def add(self, specs: Sequence[Any], predictions: FloatArray) -> None:
        """Append the next generation, without answers; predictions (G,), NaN where the predictor was not queried."""
        generation = self.generations[-1] + 1 if self.generations else 0
        self.specs += specs
        self.predictions += predictions.tolist()
        self.answers += [None] * len(specs)
        self.generations += [generation] * len(specs)

    def save(self, path: str | PathLike[str]) -> None:
        """Write a Parquet file, atomically; `tables.load` reads it too.

        Each network is a row with its `spec` and the numbers of `COLUMNS`. `asked` is 1 where the oracle has answered:
        if `value` is missing there, the network failed.
        """
        asked = [answer is not None for answer in self.answers]
        columns = zip(COLUMNS, (self.values, self.predicted, self.generations, asked), strict=True)
        arrays = {name: np.asarray(values, np.float64) for name, values in columns}
        table = Table("history", tuple(self.spec_strings), arrays, self.space, metadata={NOTE: self.config})
        write_table(table, Path(path))

    @classmethod
    def load(cls, path: str | PathLike[str], space: Space[Any] | None = None) -> History:
        """Read what `save` wrote.

        Args:
            path: of the file.
            space: the space that was searched; needed where `spaces.get` does not know it.

        Raises:
            FileFormatError: the file is damaged, not a search's history, or of another space.
            SpecError: `space` is not given and not known.
        """
        try:
            table = pq.read_table(Path(path), columns=[SPEC, *COLUMNS])
            entry = json.loads(table.schema.metadata[ENTRY])
            config, name, skeleton = {"oracle": False, **entry[NOTE]}, entry["space"], dict(entry["skeleton"])
            spec_strings, values, predictions, generations, asked = (
                table[column].to_pylist() for column in (SPEC, *COLUMNS)
            )
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise FileFormatError(
                f"{path}: not the history of a search ({one_line(error, 200)}); remove it to search anew"
            ) from error
        space = space or spaces.get(name, **skeleton)
        if [space.name, json.loads(json.dumps(asdict(space)))] != [name, skeleton]:  # type: ignore[call-overload]
            raise FileFormatError(
                f"{path}: the history of a search in {name} {skeleton}, not in {space}; use another path"
            )
        try:
            specs = [space.parse(text) for text in spec_strings]
        except SpecError as error:
            raise FileFormatError(f"{path}: a network is none of {space.name} ({error})") from error
        answers = [
            (np.nan if value is None else value) if done else None for value, done in zip(values, asked, strict=True)
        ]
        scores = [np.nan if score is None else score for score in predictions]
        return cls(space, config, specs, list(map(int, generations)), scores, answers)

    def _best(self) -> int:
        top = self.top(1)
        if not top:
            raise CgirError(f"history: none of {len(self)} networks has a score, so there is no best one")
        return top[0]
