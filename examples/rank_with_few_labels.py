"""No label, twenty, and a cheap hint rank the other 230 networks: the embedded label set, the shipped weights.

python examples/rank_with_few_labels.py
"""

import numpy as np

import encoders
from encoders import Predictor, log_flops
from encoders.metrics import spearman
from frontends import tables


def main(labels: int = 20, cheap: int = 100) -> None:
    """Rank networks of one family without a label, by a few, and with one training of others as a hint.

    Args:
        labels: networks whose accuracy is known, a mean of three trainings.
        cheap: networks of which one training is known.
    """
    table = tables.load("digits").family("nasbench201")
    assert table.space is not None
    graphs, accuracy = table.space.graphs(table.specs), table["accuracy"]
    order = np.random.default_rng(0).permutation(len(table))
    train, test, some = order[:labels], order[labels:], order[:cheap]
    others = graphs.select(test)
    print(f"log FLOPs            {spearman(log_flops(others), accuracy[test]):.3f}")
    predictor = Predictor(encoders.load_pretrained("universal")).fit([], [], pool=graphs)
    print(f"no label             {spearman(predictor.predict(others), accuracy[test]):.3f}")
    predictor.fit(graphs.select(train), accuracy[train], pool=graphs)
    print(f"{labels} labels            {spearman(predictor.predict(others), accuracy[test]):.3f}")
    hints = {"one training": (graphs.select(some), table["acc_seed0"][some])}
    predictor.fit(graphs.select(train), accuracy[train], pool=graphs, hints=hints)
    print(f"and a hint           {spearman(predictor.predict(others), accuracy[test]):.3f}")
    best = test[predictor.rank(others)[0]]
    print(
        f"predicted best: {table.spec_strings[best]} with accuracy {accuracy[best]:.3f}, best of all "
        f"{accuracy[test].max():.3f}"
    )


if __name__ == "__main__":
    main()
