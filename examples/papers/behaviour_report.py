"""Tables of the scores of `examples.papers.behaviour`, and the text above them in RESULTS.md."""

from __future__ import annotations

from statistics import mean, stdev
from typing import Any

from benchmarks.report import Table, publish
from examples.papers.behaviour_families import FAMILIES, MEASURED, NETWORKS

Row = dict[str, Any]
UNTRAINED, BOTH = "untrained", "embedding + properties"
COMMAND = "python -m examples.papers.behaviour_table && python -m examples.papers.behaviour"
ABOUT = f"""\
What an encoder is worth that is frozen: {NETWORKS} networks of each of {len(FAMILIES)} families (drawn at random; 296
of DARTS), each a target in turn. Without labels, a head is taught by the labels of all other families: a perceptron
by a hinge loss, or a ridge regression of normal scores; with 5, 10 or 20 labels of the family itself a Gaussian
process ranks all others (means of five draws, the same for all). Heads read what is named above each table, scaled
inside families; they are the same for all encoders, and lighter than those of `Predictor`.

*Behaviours* are what tiny untrained networks do with 16 random images, one pass forwards and one backwards (naswot,
jacob_cov, grad_norm, snip, fisher, spread and slope of gradients over depth, power and similarity of outputs, seconds;
synflow and zen of fewer), of up to {MEASURED} networks of eight families, and what others measured: latencies of
NAS-Bench-201 and DARTS, seconds of training of NAS-Bench-101, accuracies on 8x8 digits of 250 networks each of
NAS-Bench-201, -101 and Macro. None is a label of a target. *By episodes*: ten networks of a family show their
behaviours, and a Gaussian process on embedding and properties has to tell those of twenty others
(`contrastive/episodes.py`); *by regression*: a head predicts them from the embedding. Graphs of all families but timm
are in the pool, behaviours of the target's own family among them, but in the row *of other families* (three families
left out at a time, four encoders). OFA, timm, MetaQNN, NAS-Bench-NLP and the ResNets have no behaviours that episodes
read. *Properties, by episodes* has `cgir.properties` in the place of behaviours. Encoders are small (three
layers of 64; 1,000 steps of 90 graphs, or 600 of 64 where there are no episodes). *The shipped encoder* is larger (five
layers): it was pretrained on the corpus by contrast of subtrees, properties and paths, and then for 3,000 steps by
episodes of behaviours; seeds are those of heads. Other rows with one seed were not repeated."""


def report(rows: list[Row]) -> None:
    """Write the section of RESULTS.md.

    Args:
        rows: of `behaviour.main`.
    """
    tables = [_means(rows, reads) for reads in dict.fromkeys(row["reads"] for row in rows)]
    tables += [_families(rows, head) for head in ("0, hinge", "0, ridge", "10")]
    publish("behaviour", "Pretraining that carries over: behaviours", ABOUT, COMMAND, tables)


def _means(rows: list[Row], reads: str) -> Table:
    """Means over families; deviations over seeds."""
    found = [row for row in rows if row["reads"] == reads]
    heads = tuple(dict.fromkeys(row["head"] for row in found))
    lines = []
    for design in dict.fromkeys(row["design"] for row in found):
        mine = [row for row in found if row["design"] == design]
        cells = [_cell([mean(row["rho"].values()) for row in mine if row["head"] == head]) for head in heads]
        lines.append((design, *cells, str(len({row["seed"] for row in mine}))))
    return Table(
        f"Spearman's rho, mean of {len(FAMILIES)} families, ± over seeds; the head reads {reads}",
        ("encoder", *(f"{head} labels" if head.isdigit() else head for head in heads), "seeds"),
        tuple(lines),
    )


def _cell(values: list[float], form: str = ".3f") -> str:
    if not values:
        return ""
    return f"{mean(values):{form}}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def _families(rows: list[Row], head: str) -> Table:
    """Of each family the difference to the untrained encoder with the same seed."""
    known = {(row["design"], row["seed"]): row["rho"] for row in rows if (row["reads"], row["head"]) == (BOTH, head)}
    designs = [design for design in dict.fromkeys(design for design, _ in known) if design != UNTRAINED]
    lines = []
    for name, title in FAMILIES.items():
        plain = {seed: rho[name] for (design, seed), rho in known.items() if design == UNTRAINED}
        gains = [
            [rho[name] - plain[seed] for (other, seed), rho in known.items() if other == design and seed in plain]
            for design in designs
        ]
        lines.append((title, _cell(list(plain.values())), *(_cell(gain, "+.3f") for gain in gains)))
    return Table(
        f"{head}{' labels' if head.isdigit() else ''}, {BOTH}: rho of the untrained encoder, and how others differ "
        "from it with the same seed",
        ("family", UNTRAINED, *designs),
        tuple(lines),
    )
