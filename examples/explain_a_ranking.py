"""Why a cell is ranked where it is: CARL's masks, and what happens to the score when an operator is taken away.

Masks say what the score is read from, and only CARL has them; occlusion, for any predictor, says what raises and what
lowers it.

python examples/explain_a_ranking.py [FOLDER]     # writes four drawings there
"""

import sys
from pathlib import Path

import numpy as np

from encoders import EncoderConfig, Predictor, TrainConfig
from encoders.metrics import kendall_tau
from frontends import tables


def main(folder: str = ".", labels: int = 100, epochs: int = 60) -> None:
    """Fit on labelled cells, rank the others, explain both ends of the ranking.

    Args:
        folder: where pages and drawings are written.
        labels: number of labelled cells.
        epochs: of training.
    """
    table = tables.load("digits").family("nasbench201")
    assert table.space is not None
    cells, accuracy = table.space.cell_graphs(table.specs), table["accuracy"]
    order = np.random.default_rng(0).permutation(len(table))
    train, test = order[:labels], order[labels:]
    predictor = Predictor(
        EncoderConfig(layers=3, layer="gcn", dropout=0.15),
        "carl",
        ensemble=2,
        train=TrainConfig(epochs=epochs, batch=10),
    )
    predictor.fit(cells.select(train), accuracy[train])
    print(
        f"Kendall's tau on {len(test)} other cells: "
        f"{kendall_tau(predictor.predict(cells.select(test)), accuracy[test]):.2f}"
    )
    ranked = test[predictor.rank(cells.select(test))]
    for name, row in (("best", ranked[0]), ("worst", ranked[-1])):
        print(f"\npredicted {name}: {table.spec_strings[row]}, accuracy {accuracy[row]:.3f}")
        for method in ("masks", "occlusion"):
            explanation = predictor.explain(cells.select([int(row)]), method)
            explanation.to_svg(Path(folder) / f"{name}_{method}.svg")
            print(explanation.table(4))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ".")
