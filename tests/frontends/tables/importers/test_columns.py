"""Tables of any columns, written by pandas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from nats_samples import (
    CELLS_201,
)

import cgir
from frontends.tables.importers import import_table


def test_any_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "cell": CELLS_201,
            "acc": [1.5, None, 3.0],
            "seed": [1, 2, 3],
            "good": [True, False, True],
            "who": ["a", None, "b"],
        }
    )
    frame.to_csv(tmp_path / "x.csv", index=False)
    frame.to_csv(tmp_path / "y.csv.gz", index=False)
    frame.to_parquet(tmp_path / "x.parquet")
    frame.astype({"who": "category"}).to_parquet(tmp_path / "y.parquet")
    for kind, file in (("csv", "x.csv"), ("csv", "y.csv.gz"), ("parquet", "x.parquet"), ("parquet", "y.parquet")):
        table = import_table(kind, tmp_path / file, "nasbench201", "cell")
        assert table.spec_strings == CELLS_201
        assert table.metrics == ("acc", "seed", "good")
        np.testing.assert_array_equal(table["acc"], [1.5, np.nan, 3])
        np.testing.assert_array_equal(table["good"], [1, 0, 1])
        assert table.text_columns == {"who": ("a", "", "b")}
    pq.write_table(pa.table({"cell": CELLS_201, "curve": [[1.0], [2.0], [3.0]]}), tmp_path / "z.parquet")
    for kind, file, space, spec, complaint in (
        ("parquet", "z.parquet", "nasbench201", "cell", "column curve holds list"),
        ("csv", "x.csv", "nasbench201", "arch", "no column arch; found cell, acc"),
        ("csv", "x.csv", "nasbench201", "who", "row 0: nasbench201: "),
        ("parquet", "x.parquet", "nasbench201", "seed", "column seed holds int64, expected the text"),
        ("parquet", "x.csv", "nasbench201", "cell", "cannot be read"),
    ):
        with pytest.raises(cgir.FileFormatError, match=complaint):
            import_table(kind, tmp_path / file, space, spec)
    for arguments, complaint in (
        (("nasbench201", None), "--space NAME --spec COLUMN"),
        ((None, "cell"), "--space NAME --spec COLUMN"),
    ):
        with pytest.raises(cgir.LabelError, match=complaint):
            import_table("csv", tmp_path / "x.csv", *arguments)
