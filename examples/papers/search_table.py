"""Tables of `examples.papers.search`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean, stdev
from typing import Any

import numpy as np

from benchmarks.report import Table
from examples.papers import search_front
from examples.papers.search_methods import METHODS
from examples.papers.search_plot import ranks
from examples.papers.search_problems import SOURCES, Problem, problem

Row = dict[str, Any]
ABOUT = """\
Searches that ask a table for labels, ten runs of each (seeds), mean and standard deviation. **Queries** are counted on
distinct networks: cells with isomorphic graphs are one network, whose label is the mean of theirs, and which is asked
once; a search that proposes it again gets the answer from memory for nothing (TPE and NSGA-II propose up to 20 times
their budget). **Rank**: 1 and how many distinct networks are better than the best one asked. *Among rows* counts the
rows of the table instead, as papers do, where isomorphic cells are apart by the noise of their trainings.

What is asked is what is reported: there is one column of labels a problem, no split into validation for the search
and test for the report. NAS-Bench-201: CIFAR-10 is the mean test accuracy over the available seeds after 200 epochs
(optimum 94.37, two networks), as in the papers' tables; CIFAR-100 and ImageNet16-120 are single seeds on half of the
held-out images, so that the optimum is another one than the papers' (73.51, 47.31), and partly luck. NAS-Bench-101:
validation accuracy of one run, of a uniform 4.7 % of the space; a search may ask only these 20,001 cells, and the
papers' 94.17 is a test accuracy among all 423,624. TransNAS-Bench-101: validation metrics, one run, higher is better
everywhere. NAS-Bench-NLP: best validation loss (log perplexity) among finished cells, one run. DARTS: 50 epochs,
validation. OFA-MobileNetV3: the labelled networks at 224 pixels, traces of searches, hence mostly good ones.

**cgir** is `search.evolve` with the default predictor, taught by the labels of all families that are not the target's
(TransNAS micro and macro do not teach each other), on the shipped encoder, which was pretrained without labels, also
on graphs of the target; the shipped weights' own source model has seen labels of these tables and is not used. *cgir
without sources* knows no other family. *CARL* is `search.evolve` with CARL's predictor on cells, as in its paper.
*Han et al.*: the encoder with a head fine-tuned on other families' accuracies and then on 50 labels (half of smaller
budgets), evolution by its scores, and the remaining queries on its best. *Aging evolution*: 20 networks, tournaments of
5. *TPE* is Optuna's, *NSGA-II* (population 20, one objective: a genetic algorithm) is pymoo's; both need specs that are
tuples of choices, so they are left out where specs are graphs (NAS-Bench-101, NAS-Bench-NLP, DARTS); among the listed
networks of Once-for-All, the one with the most choices in common answers a proposal. Where only some networks are
listed, a mutation goes to one of the 20 nearest listed ones by Weisfeiler-Lehman distance, for all methods alike.

Problems without a row of *CARL* or *Han et al.* have not been measured yet; the command goes on with them.

*Workers*: a proposal does without the answers to the last twice as many networks, as `search.evolve(workers=...)`
does; that is all that workers change. *Front*: accuracy and FLOPs, each in units of its range in the table,
hypervolume above the worst of both; FLOPs come from the graphs and cost no query.

![Rank of the best network against queries](benchmarks/results/search.png)

Settings of `search.evolve` were looked for on the 12-epoch columns of NAS-Bench-201, NAS-Bench-Macro and three tasks of
TransNAS micro (class_object, segmentsemantic, normal), with other seeds; nothing was chosen by the other problems.
Every family has one source predictor, so deviations are those of the search, not of what taught it. *Seconds* are the
search's own, one thread, for ten queries, on a machine with other jobs."""
CLOSE = 1e-9


def tables(rows: Sequence[Row]) -> list[Table]:
    """The average over tasks of TransNAS, then every problem."""
    titles = [title for title in SOURCES if any(row["problem"] == title for row in rows)]
    fronts = [row for row in rows if row["problem"] == search_front.TITLE]
    return [
        *_averages(rows),
        *([search_front.table(fronts)] if fronts else []),
        *(_problem(problem(title), [row for row in rows if row["problem"] == title]) for title in titles),
    ]


def _problem(found: Problem, rows: Sequence[Row]) -> Table:
    lines = []
    for method in METHODS:
        group = [row for row in rows if row["method"] == method]
        if group:
            lines.append((method, *_cells(found, group)))
        elif (reason := METHODS[method].skip(found)) and not reason.startswith("measured on"):
            lines.append((method, *["-"] * (len(_columns(found)) - 2), reason))
    papers = "" if found.papers == "-" else f"; papers: {found.papers}"
    return Table(
        f"{found.title}: {len(found.values):,} networks, optimum {found.sign * found.optimum:.3f}, "
        f"{found.budget} queries{papers}",
        _columns(found),
        tuple(lines),
    )


def _columns(found: Problem) -> tuple[str, ...]:
    at_aim = (f"rank with {found.aim}",) if found.aim < found.budget else ()
    best = (f"best with {found.budget}", f"rank with {found.budget}", "among rows")
    return ("search", *best, *at_aim, "found the optimum", "queries to it", "seconds", "")


def _cells(found: Problem, group: Sequence[Row]) -> tuple[str, ...]:
    best = [row["best"][-1] for row in group]
    places = ranks(found, group, found.budget)
    hits = [hit for row in group if (hit := _first_hit(found, row)) is not None]
    return (
        cell((found.sign * value for value in best), 3 if abs(found.optimum) >= 10 else 4),
        cell(places[:, -1], 1),
        cell((found.row_rank(value) for value in best), 1),
        *((cell(places[:, found.aim - 1], 1),) if found.aim < found.budget else ()),
        f"{len(hits)} of {len(group)}",
        cell(hits, 0) if hits else "-",
        cell((10 * row["seconds"] / len(row["best"]) for row in group), 2),
        "",
    )


def _first_hit(found: Problem, row: Row) -> int | None:
    """The query that found the optimum."""
    hits = np.flatnonzero(np.asarray(row["best"]) >= found.optimum - CLOSE)
    return int(hits[0]) + 1 if len(hits) else None


def _averages(rows: Sequence[Row]) -> list[Table]:
    """TransNAS as papers average it: for each run the mean rank over the tasks."""
    result = []
    for kind in ("micro", "macro"):
        titles = [title for title in SOURCES if SOURCES[title].family == f"transnas_{kind}"]
        lines = []
        for method in METHODS:
            part = {
                title: [row for row in rows if (row["problem"], row["method"]) == (title, method)] for title in titles
            }
            if not all(part.values()):
                continue
            distinct = [
                ranks(problem(title), group, problem(title).budget)[:, -1].mean() for title, group in part.items()
            ]
            among = [mean(problem(title).row_rank(row["best"][-1]) for row in group) for title, group in part.items()]
            lines.append((method, f"{mean(distinct):.2f}", f"{mean(among):.2f}"))
        if lines:
            source = SOURCES[titles[0]]
            caption = (
                f"TransNAS-Bench-101 {kind}, rank with {source.budget} queries, mean over 7 tasks and runs; "
                f"papers: {source.papers}"
            )
            result.append(Table(caption, ("search", "rank", "among rows"), tuple(lines)))
    return result


def cell(values: Iterable[float], digits: int) -> str:
    """Mean and standard deviation."""
    found = [float(value) for value in values]
    return f"{mean(found):.{digits}f}" + (f" ± {stdev(found):.{digits}f}" if len(found) > 1 else "")
