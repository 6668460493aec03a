"""A picture of the shipped encoder's embedding: all labelled families, by family and by accuracy.

python -m examples.papers.universal_map     # two minutes; writes benchmarks/results/universal.png
"""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from scipy.stats import rankdata
from sklearn.manifold import TSNE

from benchmarks.report import RESULTS
from encoders import load_pretrained
from encoders.features.scalers import Scaler
from examples.papers.universal_families import METRICS, family, trace_timm

MOST = 500  # networks of a family
TITLES = {
    "nasbench201": "NAS-Bench-201",
    "nasbench101": "NAS-Bench-101",
    "ofa_mbv3": "OFA-MobileNetV3",
    "nasbench_macro": "NAS-Bench-Macro",
    "transnas_micro": "TransNAS micro",
    "transnas_macro": "TransNAS macro",
    "darts": "DARTS",
    "nasbench_nlp": "NAS-Bench-NLP",
    "timm_imagenet": "timm",
    "naap440": "NAAP-440",
    "metaqnn": "MetaQNN",
    "cifar_resnet": "ResNets",
    "nasbench_graph": "NAS-Bench-Graph",
    "graphgym": "GraphGym",
    "gpt": "GPT shapes",
    "face_landmarks": "MobileNetV2, landmarks",
    "lstm_ptb": "LSTMs",
}


def main() -> None:
    """Embed, lay out in the plane, draw twice."""
    mpl.use("Agg")
    trace_timm()
    encoder, vectors, owners, ranks = load_pretrained(), [], [], []
    for place, name in enumerate(METRICS):
        found = family(name)
        rows = np.random.default_rng(0).permutation(len(found.graphs))[:MOST]
        vectors.append(encoder.embed(found.graphs.select(rows)).astype(np.float64))
        owners.append(np.full(len(rows), place))
        ranks.append(rankdata(next(iter(found.labels.values()))[rows]) / len(rows))
    together, owner = np.concatenate(vectors), np.concatenate(owners)
    plane = TSNE(perplexity=40, init="pca", random_state=0).fit_transform(Scaler.fit(together)(together))
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 6.4), constrained_layout=True)
    for place, name in enumerate(METRICS):
        chosen = owner == place
        left.scatter(*plane[chosen].T, s=4, color=plt.get_cmap("tab20")(place), label=TITLES[name], linewidths=0)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=6, markerscale=4, fontsize=8)
    left.set_title("by family")
    dots = right.scatter(*plane.T, s=4, c=np.concatenate(ranks), cmap="viridis", linewidths=0)
    right.set_title("by measured quality, as a rank inside the family")
    figure.colorbar(dots, ax=right, label="share of the family's networks that are worse")
    for axes in (left, right):
        axes.set_xticks([])
        axes.set_yticks([])
    figure.savefig(RESULTS / "universal.png", dpi=110)


if __name__ == "__main__":
    main()
