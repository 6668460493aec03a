"""Tables of the scores of `examples.papers.zero_cost`, and the text above them in RESULTS.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

import numpy as np
from scipy.stats import rankdata

from benchmarks.report import Table
from cgir.typing import FloatArray, IntArray
from encoders.metrics import spearman
from examples.papers.zero_cost_families import SEEDS, TITLES, Sample
from search.zero_cost import NAMES
from search.zero_cost.az_nas import Components, summed_ranks

Row = dict[str, Any]
Values = Mapping[str, FloatArray]

ABOUT = """\
What ranks networks before anything is trained, against measured labels. The networks of a space are drawn at random
from those of "Families left out, with 0 to 50 labels": each graph once, none without a path from input to output;
how many stands behind the name of the space. Labels: CIFAR-10 test accuracy (NAS-Bench-201 and Macro, means over
seeds), validation accuracy of one run (NAS-Bench-101; DARTS after 50 epochs), object classification
(TransNAS-Bench-101). Scores are of smaller networks than those that were trained: NAS-Bench-201 with 16 channels and
five cells a stage, NAS-Bench-101 and TransNAS-Bench-101 with 16 channels and one cell a stage, DARTS with 16 channels
and five layers, NAS-Bench-Macro with 8 channels and a head of 128. One batch of 64 training images of CIFAR-10,
averaged to 16 x 16 pixels (TransNAS-Bench-101: repeated to 64 x 64); PyTorch's initial weights; training mode; one
seed, where nothing else is said.

Rows: all of `search.zero_cost.score`; *vote* decides each pair of networks by the majority of synflow, jacob_cov and
snip, as Abdelfattah et al. 2021; *az_nas* ranks the networks among themselves, on normal noise; *cgir, 0 labels* runs
no network: the encoder that comes with the package, with heads of one seed, taught by the labels of all families but
the target and timm. The encoder saw graphs of the target, without labels. Proxies are taken as they are defined, with
their signs, and undefined scores come last. Published values are absolute ones over the whole space, at its own size:
Abdelfattah et al. 2021 (six proxies, CIFAR-10), Jiang et al. 2023 (meco), Lee and Ham 2024 (az_nas).

Definitions and settings of proxies are the papers'. Those of dense regression are not: its learning rate was chosen, of
three, on 47 random cells of NAS-Bench-201 with 8 channels and one cell a stage, where it ranked them at .90, in a trial
that no script here repeats; that is the skeleton of its rows here, but for *five cells a stage*, as the proxies have.
On no other space was it tried before."""

SIZE = {"flops": "log FLOPs", "params": "log parameters"}  # their logarithms rank alike
VOTERS = ("synflow", "jacob_cov", "snip")
OURS = "cgir, 0 labels"
DRAWS = 1000
# Absolute values over all networks of the space, as printed.
PUBLISHED: dict[str, dict[str, float]] = {
    "nasbench201": {
        "grad_norm": 0.594,
        "snip": 0.596,
        "grasp": 0.514,
        "fisher": 0.36,
        "synflow": 0.737,
        "jacob_cov": 0.731,
        "meco": 0.89,
        "az_nas": 0.913,
    },
    "nasbench101": {
        "grad_norm": 0.198,
        "snip": 0.164,
        "grasp": 0.448,
        "fisher": 0.257,
        "synflow": 0.372,
        "jacob_cov": 0.378,
    },
}


def tables(rows: Sequence[Row], samples: Mapping[str, Sample], ours: Mapping[str, FloatArray]) -> list[Table]:
    """All that was measured.

    Args:
        rows: of `examples.papers.zero_cost`.
        samples: the networks of each family.
        ours: scores of these networks without labels.
    """
    found = {name: part_values(rows, samples[name], "proxies", name) for name in samples}
    columns = {
        name: ranked(values) | {OURS: ours[name][: len(values["flops"])]} for name, values in found.items() if values
    }
    labels = {name: samples[name].labels[: len(columns[name][OURS])] for name in columns}
    result = [_main(columns, labels), _beyond_size(columns, labels), _seeds(rows, samples)]
    result += [_dense(rows, samples, columns), _seconds(rows), _undefined(found)]
    return [table for table in result if table.rows]


def part_values(rows: Sequence[Row], sample: Sample, part: str, family: str, seed: int = 0) -> dict[str, FloatArray]:
    """Scores (networks,) by name, nan where undefined, of the first networks of a sample as far as all were measured.

    Args:
        rows: of `examples.papers.zero_cost`.
        sample: the networks of the family.
        part: what was measured.
        family: name.
        seed: of weights and images.
    """
    scores = {
        row["text"]: row["scores"] for row in rows if (row["part"], row["family"], row["seed"]) == (part, family, seed)
    }
    texts = [text for text in sample.texts if text in scores]
    if tuple(texts) != sample.texts[: len(texts)]:
        return {}
    names = scores[texts[0]] if texts else ()
    return {name: np.array([scores[text][name] for text in texts], np.float64) for name in names}


def ranked(values: Values) -> dict[str, FloatArray]:
    """Finite scores of all proxies, with those of sets of networks."""
    found = {name: with_worst(values[name]) for name in NAMES}
    found["vote"] = vote([found[name] for name in VOTERS])
    parts = zip(*(values[name] for name in Components._fields), strict=True)
    found["az_nas"] = with_worst(summed_ranks([None if np.isnan(part).any() else Components(*part) for part in parts]))
    return found


def with_worst(scores: FloatArray) -> FloatArray:
    """Undefined scores below all others."""
    finite = scores[np.isfinite(scores)]
    return np.where(np.isfinite(scores), scores, (finite.min() if len(finite) else 0.0) - 1)


def vote(scores: Sequence[FloatArray]) -> FloatArray:
    """How many more networks each one beats than it loses to, where most scores decide.

    Abdelfattah et al. 2021, section 3.2, count the same decisions pair by pair.
    """
    ballots = sum(np.sign(values[:, None] - values[None, :]) for values in scores)
    result: FloatArray = np.sign(ballots).sum(1)
    return result


def bootstrap_error(scores: FloatArray, labels: FloatArray) -> float:
    """Standard deviation of Spearman's rho over draws of as many networks, with replacement."""
    rows: IntArray = np.random.default_rng(0).integers(len(labels), size=(DRAWS, len(labels)))
    a, b = (rankdata(values[rows], axis=1) for values in (scores, labels))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    length = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return float(np.std(np.divide((a * b).sum(1), length, out=np.zeros(DRAWS), where=length > 0), ddof=1))


def partial_spearman(scores: FloatArray, labels: FloatArray, size: FloatArray) -> float | None:
    """Rank correlation of scores and labels with size held fixed; None where scores are but size."""
    both, first, second = spearman(scores, labels), spearman(scores, size), spearman(labels, size)
    rest = (1 - first**2) * (1 - second**2)
    return (both - first * second) / rest**0.5 if rest > 1e-9 else None


def _main(columns: Mapping[str, Values], labels: Mapping[str, FloatArray]) -> Table:
    """Every ranking of every family, with what is published beside it."""
    heads = ["ranking"]
    lines = {name: [SIZE.get(name, name)] for values in columns.values() for name in values}
    for family, values in columns.items():
        rhos = {name: spearman(scores, labels[family]) for name, scores in values.items()}
        heads.append(f"{TITLES[family]}, {len(labels[family])}")
        for name, rho in rhos.items():
            text = f"{rho:.3f} ± {bootstrap_error(values[name], labels[family]):.3f}"
            lines[name].append(f"**{text}**" if rho == max(rhos.values()) else text)
        if family in PUBLISHED:
            heads.append("published")
            for name in rhos:
                lines[name].append(f"{PUBLISHED[family][name]:.3f}" if name in PUBLISHED[family] else "")
    caption = "Spearman's rho with the label and its bootstrap standard error; bold: the highest of the family"
    return Table(caption, tuple(heads), tuple(map(tuple, lines.values())))


def _beyond_size(columns: Mapping[str, Values], labels: Mapping[str, FloatArray]) -> Table:
    lines = []
    for name in dict.fromkeys(name for values in columns.values() for name in values if name != "flops"):
        partial = (partial_spearman(v[name], labels[family], v["flops"]) for family, v in columns.items())
        lines.append((SIZE.get(name, name), *("" if rho is None else f"{rho:.3f}" for rho in partial)))
    caption = "The same with FLOPs held fixed: partial rank correlation, what a ranking knows beyond size"
    return Table(caption, ("ranking", *(TITLES[family] for family in columns)), tuple(lines))


def _seeds(rows: Sequence[Row], samples: Mapping[str, Sample]) -> Table:
    """Mean and deviation over seeds, of the networks that all seeds have."""
    found: dict[str, list[Values]] = {}
    counts: dict[str, int] = {}
    for family, networks in samples.items():
        parts = [part_values(rows, networks, "seeds" if seed else "proxies", family, seed) for seed in range(SEEDS)]
        if all(parts):
            counts[family] = min(len(values["flops"]) for values in parts)
            found[family] = [ranked({name: v[: counts[family]] for name, v in values.items()}) for values in parts]
    lines = []
    for name in dict.fromkeys(name for parts in found.values() for name in parts[0] if name not in SIZE):
        cells = [
            [spearman(values[name], samples[family].labels[: counts[family]]) for values in parts]
            for family, parts in found.items()
        ]
        lines.append((name, *(f"{mean(cell):.3f} ± {stdev(cell):.3f}" for cell in cells)))
    heads = (f"{TITLES[family]}, {counts[family]}" for family in found)
    caption = f"Spearman's rho, mean and standard deviation over {SEEDS} seeds, of the first networks of each sample"
    return Table(caption, ("ranking", *heads), tuple(lines))


def _dense(rows: Sequence[Row], samples: Mapping[str, Sample], columns: Mapping[str, Values]) -> Table:
    """Dense regression beside other rankings of the same networks."""
    beside = ("flops", "naswot", "meco", "az_nas", OURS)
    lines = []
    for family in columns:
        for part in dict.fromkeys(row["part"] for row in rows if row["part"].startswith("dense")):
            values = part_values(rows, samples[family], part, family)
            for scores in values.values():
                labels = samples[family].labels[: len(scores)]
                seconds = mean(row["seconds"] for row in rows if (row["part"], row["family"]) == (part, family))
                others = (f"{spearman(columns[family][name][: len(scores)], labels):.3f}" for name in beside)
                text = f"{spearman(with_worst(scores), labels):.3f} ± {bootstrap_error(with_worst(scores), labels):.3f}"
                steps, _, deep = part.removeprefix("dense ").partition(", ")
                title = TITLES[family] + (", five cells a stage" if deep else "")
                lines.append((title, f"{len(scores)}", steps, f"{seconds:.2f}", text, *others))
    heads = ("space", "networks", "steps", "seconds a network", "dense regression", *(SIZE.get(n, n) for n in beside))
    return Table("Dense regression, beside other rankings of the same networks: Spearman's rho", heads, tuple(lines))


def _seconds(rows: Sequence[Row]) -> Table:
    """Mean seconds of each proxy by itself, and of all together on the same networks."""
    timed = {family: [row for row in rows if (row["part"], row["family"]) == ("alone", family)] for family in TITLES}
    timed = {family: found for family, found in timed.items() if found}
    lines = [
        (SIZE.get(name, name), *(f"{mean(row['scores'][name] for row in found):.3f}" for found in timed.values()))
        for name in (*NAMES, "az_nas")
    ]
    together = []
    for family, found in timed.items():
        texts = {row["text"] for row in found}
        parts = [row for row in rows if (row["part"], row["family"]) == ("proxies", family) and row["text"] in texts]
        together.append(f"{mean(row['seconds'] for row in parts):.3f}" if parts else "")
    lines.append(("all in one call, and az_nas", *together))
    heads = ("proxy", *(f"{TITLES[family]}, {len(found)}" for family, found in timed.items()))
    return Table(
        "Seconds a network, each proxy by itself: processor time of one thread, more where a machine is busy",
        heads,
        tuple(lines) if timed else (),
    )


def _undefined(found: Mapping[str, Values]) -> Table:
    """How many scores are undefined, of the proxies that have any."""
    counts = {
        family: {name: int(np.isnan(scores).sum()) for name, scores in values.items()}
        for family, values in found.items()
        if values
    }
    names = dict.fromkeys(
        name for family in counts.values() for name in family if any(c[name] for c in counts.values())
    )
    lines = [(name, *(str(family[name]) for family in counts.values())) for name in names]
    return Table("Undefined scores, ranked last", ("proxy", *(TITLES[family] for family in counts)), tuple(lines))
