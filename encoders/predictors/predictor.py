"""`Predictor`: learns from few labelled graphs to rank others, by one of several estimators."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike
from torch import nn

from cgir.blas_threads import one_blas_thread
from cgir.errors import CgirError, LabelError
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.limits import DEFAULT, Limits
from cgir.typing import FloatArray, IntArray
from encoders.engine.batching import Graphs, as_tensors
from encoders.engine.devices import Device, as_device, device_for
from encoders.features.graph_features import GraphFeatures
from encoders.features.label_transforms import check_labels
from encoders.models.carl import CarlConfig
from encoders.models.checkpoints import build_encoder, encoder_meta
from encoders.training.loop import Part, TrainConfig
from encoders.training.losses import LOSSES
from frontends.torch.surroundings import in_plain_surroundings

from .ensemble import EncoderInit, Ensemble
from .estimators import DEFAULT_TASK, Estimator, SourceData, task_index
from .estimators_blend import BlendEstimator
from .estimators_gp import NO_SOURCES, GPEstimator
from .estimators_network import NetworkEstimator
from .fit_record import FitRecord
from .hints import Hint, check_hint
from .metric import Metric, metric_of
from .serialization import State, reading_state, write_state
from .source_families import PretrainedEncoder

if TYPE_CHECKING:
    from torch import Tensor

    from encoders.explain import Explanation
    from frontends.spaces import Space
    from search.zero_cost.rehearsal import Rehearsal

GraphsLike = Graphs | GraphFeatures  # features were made by `compute_features` with the same encoder
# graphs and values of each hint, or graphs, values and a weight
Hints = Mapping[str, tuple[GraphsLike, ArrayLike] | tuple[GraphsLike, ArrayLike, float]]
HEADS = ("blend", "gp", "carl", "rank", *(name for name in LOSSES if name not in ("hinge", "mse")), "mse")
LANGUAGE = "language"  # the task of families whose graphs read tokens

logger = logging.getLogger(__name__)


class Predictor:
    """Learns from few labelled graphs to score others; a higher label is better, unless its metric says otherwise.

    Args:
        encoder: weights to start from, which are never changed, or a configuration: every network then starts from
            random weights of its own; None: the default configuration.
        head: "rank" learns the order of pairs by a hinge loss, "logistic", "listmle" and "warp" by others (see
            `losses`), "carl" by separating what is causal (see `carl.CARL`); all give scores without a unit. "mse"
            regresses the labels, "gp" is a Gaussian process on several views of a graph (see `GaussianProcess`); these
            two predict in label units. "blend", the best known choice for 0 to 100 labels, is a Gaussian process that
            expects what FLOPs, parameters, hints and labelled families say, if there were some or they come with the
            encoder (see `BlendEstimator`).
        ensemble: networks to average, by default 1; a blend has none.
        frozen: False trains the whole network (from scratch for None), True only a head on the embedding beside
            `cgir.properties` (for None: on these alone); "gp" and "blend" are always frozen.
        train: how networks are trained.
        carl: options of CARL.
        task: which of the tasks that labelled families were given for is predicted; by default the first one, of
            graphs that read tokens "language", with a warning, where that was learned.
        gnn: with 40 to 100 labels a blend also trains graph neural networks from scratch, and mixes them in where they
            rank held-out labels better; it takes minutes.
        device: where networks are trained and compute: "auto", the GPU where there is one, "cpu", "cuda" or "cuda:1".
            What is saved does not depend on it; Gaussian processes stay on the CPU.

    Attributes: `encoder`, the weights, or None; `head`; `task`; `device`; `estimator`, what learns and predicts;
    `rehearsal`, see `rehearse`; `record`, what the last `fit` was given, None before there is one.
    """

    def __init__(
        self,
        encoder: EncoderInit = None,
        head: str = "blend",
        *,
        ensemble: int | None = None,
        frozen: bool = False,
        train: TrainConfig | None = None,
        carl: CarlConfig | None = None,
        task: str | None = None,
        gnn: bool = False,
        device: Device = "auto",
    ) -> None:
        members = 1 if ensemble is None else ensemble
        if head not in HEADS:
            raise CgirError(f"predictor: unknown head {head!r}; expected one of {', '.join(HEADS)}")
        if head in ("blend", "gp") and ensemble is not None:
            raise CgirError(f"predictor: ensemble={ensemble}, but head {head!r} is one process; leave it out")
        if members < 1:
            raise CgirError(f"predictor: ensemble={ensemble}; expected at least one member")
        frozen = frozen or head in ("blend", "gp")
        if frozen and (head == "carl" or not (encoder is None or isinstance(encoder, nn.Module))):
            raise CgirError(
                f"predictor: head {head!r} on a frozen encoder needs trained weights and a head on vectors; "
                f"found {type(encoder).__name__}"
            )
        self.encoder = encoder if isinstance(encoder, nn.Module) else None
        self.device = as_device(device) if self.encoder is None else device_for(self.encoder, device)
        self.head, self.task = head, task
        self.rehearsal: Rehearsal | None = None
        self.record: FitRecord | None = None
        self._told = False  # that graphs lie outside of what was seen: once a fit
        pretrained, train = encoder if isinstance(encoder, PretrainedEncoder) else None, train or TrainConfig()
        self.estimator: Estimator
        if head == "gp":
            self.estimator = GPEstimator()
        elif head != "blend":
            # each member copies what it starts from
            init = None if frozen else encoder if pretrained is None else pretrained.without_sources()
            self.estimator = NetworkEstimator(Ensemble(init, _loss(head), members, frozen, train, carl))
        elif pretrained is None:
            self.estimator = BlendEstimator(gnn=gnn)
        else:
            self.estimator = BlendEstimator(pretrained.source_model, pretrained.tasks, gnn, pretrained.blend_config)
        if self.estimator.is_fitted:
            self._task_index()

    def __repr__(self) -> str:
        metric = "" if self.metric is None else f", metric={self.metric.name!r}"
        return f"Predictor(head={self.head!r}{metric})" + ("" if self.estimator.is_fitted else ", nothing fitted")

    def __str__(self) -> str:
        if not self.estimator.is_fitted:
            return repr(self)
        unit = "" if self.has_unit else ", scores without a unit, which only rank"
        lines = [] if self.record is None else self.record.lines()
        of = f" of {self.metric}" if self.metric else ""
        return "\n".join([f"Predictor(head={self.head!r}){of}{unit}", *lines])

    @property
    def metric(self) -> Metric | None:
        """What is predicted, as `fit` was told; None: higher is better, and nothing else is known."""
        return None if self.record is None else self.record.metric

    @property
    def sign(self) -> int:
        """1 where a higher score is better, else -1."""
        return 1 if self.metric is None else self.metric.sign

    @property
    def has_unit(self) -> bool:
        """Whether scores are in the unit of labels; others only rank."""
        labels = self.record is not None and self.record.num_labels > 0
        return labels and self.head in ("blend", "gp", "mse")

    @property
    def has_std(self) -> bool:
        """Whether `predict` can give standard deviations: a Gaussian process or several networks."""
        return self.estimator.has_std

    @in_plain_surroundings()
    @one_blas_thread()
    def fit_sources(
        self, sources: Iterable[tuple[GraphsLike, ArrayLike]], seed: int = 0, tasks: Sequence[str] | None = None
    ) -> Predictor:
        """Train on labelled families other than the target, so that `fit` needs fewer labels, or none.

        Args:
            sources: a pair (graphs, labels) for each family, or for each task of a family; labels are compared only
                within a pair. Pairs with the same graphs (the same object) are one family, which counts as much as
                another.
            seed: of weights and batches.
            tasks: what the labels of each pair measure. Frozen heads learn each task by an output of its own; None: all
                measure the same.

        Raises:
            LabelError: if a family's labels are unusable, or the head cannot learn from other families.
        """
        if isinstance(self.estimator, GPEstimator):
            raise LabelError(NO_SOURCES)
        pairs = list(sources)
        features = [self._features(graphs) for graphs, _ in pairs]
        labels = [check_labels(y, len(part)) for part, (_, y) in zip(features, pairs, strict=True)]
        if not pairs:
            raise LabelError("fit_sources: no family given; expected pairs (graphs, labels)")
        names = [DEFAULT_TASK] * len(pairs) if tasks is None else list(tasks)
        if len(names) != len(pairs):
            raise LabelError(f"fit_sources: {len(pairs)} pairs but {len(names)} tasks; expected one for each pair")
        different = list(dict.fromkeys(names))
        task_index(self.task, different)
        estimator = self.estimator.copy()
        if estimator.reads_vectors:
            for part in features:  # embedded pair by pair, before they are put together
                part.vectors()
        families = _families(
            [id(graphs) for graphs, _ in pairs], [len(y) for y in labels], [different.index(name) for name in names]
        )
        data = SourceData(GraphFeatures.concatenate(features), np.concatenate(labels), families, different)
        estimator.fit_sources(data, seed)
        vars(self).update(estimator=estimator, record=None)
        return self

    @in_plain_surroundings()
    @one_blas_thread()
    def fit(
        self,
        graphs: GraphsLike,
        y: ArrayLike,
        seed: int = 0,
        pool: GraphsLike | None = None,
        hints: Hints | None = None,
        metric: Metric | str | None = None,
    ) -> Predictor:
        """Learn from labels of the target family, starting from what sources taught; earlier labels are forgotten.

        Args:
            graphs: n graphs.
            y: n labels, higher is better unless `metric` says otherwise. A blend needs none, given a pool.
            seed: of weights and batches.
            pool: unlabelled graphs of the family, by which features are scaled instead of by the few labelled ones. In
                a blend it also decides how far sizes and the source families count.
            hints: of a blend, cheap signals of networks of the family, labelled or not, as name -> (graphs, values):
                accuracies after a few epochs, short trainings, proxies, labels on another data set. Of latencies here
                and on other devices give `log(ms)`: they grow with size; the smallest prediction is the fastest. Each
                is smoothed over graphs; labels decide which are believed. A
                third entry, from 0 to 1, says how far a hint is believed without labels, by default .5. Of hints higher
                is better, whatever the metric.
            metric: what labels measure, kept with the predictor: its name, unit and direction, in which `predict`
                answers and `rank` sorts. A name alone, such as "latency_ms", tells the rest, which is logged.

        Raises:
            LabelError: labels or hints missing, not finite or all equal.
        """
        measured = metric_of(metric)
        sign, turn = (1, 1) if measured is None else (measured.learned_sign, measured.learned_sign * measured.sign)
        estimator = self.estimator.copy()
        pool_features = None if pool is None else self._features(pool)
        if pool_features is not None and not len(pool_features):
            raise LabelError("fit: the pool has no graphs; expected unlabelled graphs of the family, or pool=None")
        if hints is not None and not isinstance(hints, Mapping):
            raise LabelError(f"fit: hints: found {type(hints).__name__}; expected name -> (graphs, values)")
        if not isinstance(estimator, BlendEstimator):
            if hints:
                raise LabelError(f"fit: head {self.head!r} takes no hints; use head='blend'")
            features = self._features(graphs)
            labels = check_labels(y, len(features))
            estimator.fit(features, sign * labels, pool_features, task_index(self.task, estimator.tasks), seed)
        else:
            features, checked = self._features(graphs), self._hints({**self._rehearsed(), **(hints or {})}, turn)
            if pool_features is not None and not np.size(y) and not len(features):
                labels = np.zeros(0)
                estimator.adapt(pool_features, checked, self._task_of(pool_features), seed)
            else:
                labels, task = check_labels(y, len(features)), self._task_of(features)
                estimator.fit(features, sign * labels, pool_features, task, seed, checked)
        record = FitRecord.of(measured, labels, features, pool_features)
        vars(self).update(estimator=estimator, record=record, _told=False)  # at once: see `predict`
        return self

    def rehearse(
        self,
        networks: Space[Any] | Sequence[nn.Module],
        pool: Sequence[Any] | None = None,
        count: int = 20,
        seconds: float | None = 60.0,
        *,
        images: Tensor | None = None,
        seed: int = 0,
        done: Rehearsal | None = None,
    ) -> Rehearsal:
        """Train some networks of the target for a second each, without labels: a hint of every `fit` from now on.

        See `search.zero_cost.rehearse`. It helps most families, and misleads on DARTS, whose cells have separable
        convolutions ("Rehearsal" in RESULTS.md). The result is kept as `rehearsal`, which may be set to None, but not
        saved.

        Args:
            networks: a space, or modules, of which copies are trained.
            pool: of a space: specifications to choose from; None: any of the space.
            count: networks to train.
            seconds: after which no further one is begun; None: no limit.
            images: (B, C, H, W); None: noise, for a space.
            seed: of the choice, weights and targets.
            done: an earlier result for the same networks, to which more is added.

        Raises:
            CgirError: another head takes no hints, or no network could be trained.
        """
        from search.zero_cost import rehearse

        if not isinstance(self.estimator, BlendEstimator):
            raise CgirError(f"rehearse: head {self.head!r} takes no hints; use head='blend'")
        self.rehearsal = rehearse(
            networks, pool, count, seconds, images=images, seed=seed, done=done, device=self.device
        )
        return self.rehearsal

    @overload
    def predict(self, graphs: GraphsLike, return_std: Literal[False] = False) -> FloatArray: ...
    @overload
    def predict(self, graphs: GraphsLike, return_std: Literal[True]) -> tuple[FloatArray, FloatArray]: ...
    @in_plain_surroundings()
    @one_blas_thread()
    def predict(self, graphs: GraphsLike, return_std: bool = False) -> FloatArray | tuple[FloatArray, FloatArray]:
        """Scores as float64 (G,), higher is better unless `metric` says otherwise.

        Each graph's score does not depend on the others; but where a blend was given neither labels nor a pool, the
        graphs themselves are the pool, as in `fit([], [], pool=graphs)`. Graphs unlike all that `fit` saw are logged,
        once a fit, and their standard deviations grow with how far outside they are; see `outside`.

        Args:
            graphs: G graphs.
            return_std: also give the standard deviation (G,) in the unit of the scores: of a label under the Gaussian
                process, or of the members of an ensemble.

        Raises:
            CgirError: nothing was fitted, or a standard deviation is wanted of a single network.
        """
        # read at once: another thread may fit meanwhile, which puts others in their place
        fitted: tuple[Estimator, FitRecord | None] = itemgetter("estimator", "record")(vars(self))
        estimator, record = fitted
        if not estimator.is_fitted:
            raise CgirError(
                "predict: nothing was fitted; call fit(graphs, labels) or fit_sources first, "
                "or take load_pretrained('universal')"
            )
        if return_std and not estimator.has_std:
            raise CgirError(
                f"predict: a single network with head {self.head!r} has no spread; "
                "use ensemble=5, head='gp' or head='blend'"
            )
        features = self._features(graphs)
        if isinstance(estimator, BlendEstimator):
            adapted = estimator.context is not None and self.task is None
            task = estimator.target_task if adapted else self._task_of(features)
        else:
            task = task_index(self.task, estimator.tasks)
        scores, stds = estimator.predict(features, task)
        if record is not None:
            self._told = self._told or record.warn_outside(features)
            scores = scores * (1 if record.metric is None else record.metric.learned_sign)
            spread = record.labels[2] if record.labels and self.has_unit else 1.0
            stds = record.widen(features, stds, spread) if return_std else stds
        return (scores, stds) if return_std else scores

    @in_plain_surroundings()
    def outside(self, graphs: GraphsLike) -> dict[int, str]:
        """Graphs unlike all that `fit` saw, by their number, and why: their scores are guesses.

        A graph is outside where its FLOPs, parameters, bytes of activations or the number of its operators, of all or
        of a kind, are more than twice, or less than half, of what was seen, or its inputs have other shapes. Who asks
        this is not warned by `predict`.
        """
        found = {} if self.record is None else self.record.outside(self._features(graphs))
        self._told = self._told or bool(found)
        return found

    @in_plain_surroundings()
    def rank(self, graphs: GraphsLike) -> IntArray:
        """Indices of the graphs, best first, the lowest where lower is better; equal scores keep their order."""
        return np.argsort(-self.sign * self.predict(graphs), kind="stable")

    @in_plain_surroundings()
    def explain(self, graph: Graph | GraphBatch, method: str | None = None) -> Explanation:
        """How much each node and edge of one graph matters for its score; see `explain.explain`.

        Args:
            graph: a graph, or a batch of one.
            method: "masks", the causal shares of a CARL head, or "occlusion", for any head; None: masks where there are
                some.

        Raises:
            CgirError: nothing was fitted, or another head has no masks.
        """
        from encoders.explain import explain

        return explain(self, graph, method)

    @in_plain_surroundings()
    def masks(self, graph: Graph | GraphBatch) -> tuple[FloatArray, FloatArray]:
        """CARL's causal shares in [0, 1] of the nodes (V,) and edges (E,) of a graph, averaged over the ensemble.

        Raises:
            CgirError: another head has none.
        """
        estimator = self.estimator
        if self.head != "carl" or not isinstance(estimator, NetworkEstimator) or not estimator.is_fitted:
            raise CgirError(
                f"masks: only a fitted predictor with head='carl' has them; found head {self.head!r}; "
                "use explain(graph, method='occlusion')"
            )
        return estimator.ensemble.masks(as_tensors(graph))

    @in_plain_surroundings()
    def save(self, folder: str | PathLike[str]) -> None:
        """Write the fitted predictor to `folder`; an existing one there is replaced as a whole."""
        state = self.estimator.to_state()
        state.meta |= {"head": self.head, "task": self.task}
        state.add("record", None if self.record is None else self.record.to_state())
        if self.encoder is not None:
            state.add("encoder", State(encoder_meta(self.encoder), self.encoder.state_dict()))
        write_state(folder, state)

    @staticmethod
    @in_plain_surroundings()
    def load(folder: str | PathLike[str], limits: Limits = DEFAULT, device: Device = "auto") -> Predictor:
        """Read back what `save` wrote; predictions are equal.

        Args:
            folder: of the predictor.
            limits: `bytes` of a matrix of a Gaussian process, which takes the square of its labels.
            device: of the predictor.

        Raises:
            FileFormatError: it is damaged or something else, or would take more than the limits allow.
        """
        where = as_device(device)
        with reading_state(folder, limits) as state:
            part, head = state.part("encoder"), state.text("head")
            encoder = None if part is None else build_encoder(part.tensors, part.meta, state.path).eval()
            predictor = Predictor(encoder, head, device=where)
            if head == "gp":
                predictor.estimator = GPEstimator.from_state(state)
            elif head == "blend":
                predictor.estimator = BlendEstimator.from_state(state)
            else:
                predictor.estimator = NetworkEstimator.from_state(state, encoder, _loss(head))
            predictor.task = None if state.meta["task"] is None else state.text("task")
            record = state.part("record")
            predictor.record = None if record is None else FitRecord.from_state(record)
            if predictor.estimator.is_fitted:
                predictor._task_index()
        return predictor

    def _features(self, graphs: GraphsLike) -> GraphFeatures:
        """Graphs, and what is computed from them with this predictor's encoder where an estimator reads it."""
        if isinstance(graphs, GraphFeatures):
            return graphs.on(self.device)
        return GraphFeatures(as_tensors(graphs), self.encoder, device=self.device)

    def _rehearsed(self) -> Hints:
        """What was rehearsed, as a hint; nothing, with a warning, where no network is above another one."""
        if self.rehearsal is None:
            return {}
        if np.ptp(self.rehearsal.values) == 0:
            logger.warning("fit: rehearsal ranks none of its %d networks; it is no hint", len(self.rehearsal.trained))
            return {}
        return {"rehearsal": self.rehearsal.as_hint()}

    def _hints(self, hints: Hints, turn: int) -> dict[str, Hint]:
        """Checked hints, times `turn`; those with the same graphs (the same object) have the same features."""
        features: dict[int, GraphFeatures] = {}
        checked = {}
        for name, hint in hints.items():
            if not isinstance(hint, tuple) or len(hint) not in (2, 3):
                raise LabelError(f"hint {name!r:.60}: found {type(hint).__name__}; expected (graphs, values)")
            graphs, values, *weight = hint
            if id(graphs) not in features:
                features[id(graphs)] = self._features(graphs)
            hint_ = check_hint(name, features[id(graphs)], values, *weight)
            checked[name] = hint_._replace(values=turn * hint_.values)
        return checked

    def _task_of(self, features: GraphFeatures) -> int:
        """The task of the target: as given, or a guess from what its graphs read, with a warning."""
        tasks = self.estimator.tasks
        if self.task is None and LANGUAGE in tasks and tasks[0] != LANGUAGE and features.reads_tokens:
            logger.warning("predictor: graphs read tokens, so task %r is assumed; give task= to choose", LANGUAGE)
            return task_index(LANGUAGE, tasks)
        return task_index(self.task, tasks)

    def _task_index(self) -> int:
        """Which of the estimator's tasks is predicted. CgirError if it learned no such task."""
        return task_index(self.task, self.estimator.tasks)


def _loss(head: str) -> str:
    return "hinge" if head == "rank" else head


def _families(owners: Sequence[int], sizes: Sequence[int], tasks: Sequence[int]) -> list[list[Part]]:
    """The parts of each family, in order of appearance; parts with the same owner are one family's."""
    starts = np.cumsum([0, *sizes])[:-1].tolist()
    parts = [Part(start, size, task) for start, size, task in zip(starts, sizes, tasks, strict=True)]
    return [
        [part for part, other in zip(parts, owners, strict=True) if other == owner] for owner in dict.fromkeys(owners)
    ]
