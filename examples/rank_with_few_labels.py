"""Twenty measured accuracies rank 230 other networks: the embedded label set, a search space, a predictor.

python examples/rank_with_few_labels.py
"""

import numpy as np

from encoders import Predictor, log_flops
from encoders.metrics import spearman
from frontends import tables


def main(labels: int = 20) -> None:
    """Fit on a few networks of one family, rank the rest; then again with the labels of another family beside."""
    digits = tables.load("digits")
    table, other = digits.family("nasbench201"), digits.family("nasbench101")
    assert table.space is not None
    assert other.space is not None
    graphs, accuracy = table.space.graphs(table.specs), table["accuracy"]
    order = np.random.default_rng(0).permutation(len(table))
    train, test = order[:labels], order[labels:]
    print(f"log FLOPs            {spearman(log_flops(graphs.select(test)), accuracy[test]):.3f}")
    predictor = Predictor().fit(graphs.select(train), accuracy[train], pool=graphs)
    print(f"{labels} labels            {spearman(predictor.predict(graphs.select(test)), accuracy[test]):.3f}")
    predictor = Predictor().fit_sources([(other.space.graphs(other.specs), other["accuracy"])])
    predictor.fit(graphs.select(train), accuracy[train], pool=graphs)
    print(f"and another family   {spearman(predictor.predict(graphs.select(test)), accuracy[test]):.3f}")
    best = test[predictor.rank(graphs.select(test))[0]]
    print(
        f"predicted best: {table.spec_strings[best]} with accuracy {accuracy[best]:.3f}, best of all "
        f"{accuracy[test].max():.3f}"
    )


if __name__ == "__main__":
    main()
