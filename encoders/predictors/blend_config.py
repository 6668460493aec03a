"""Tuned constants of the blend, in one place: they are shown, swept, and saved with the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from encoders.gaussian_process.regression import KernelPrior
from encoders.models.checkpoints import config_from
from encoders.training.loop import TrainConfig

# prior means of the weights of log FLOPs, log parameters, log bytes of activations, entropy of convolutions, the
# multi-task GP on features, and on features relative to their family
Weights = tuple[float, float, float, float, float, float]
KERNEL_PRIOR = KernelPrior(rbf_variance=0.3, rate=0.5, linear_variance=0.15, noise_variance=0.3)
FOLLOWED_PRIOR = KernelPrior(rbf_variance=0.03, rate=0.5, linear_variance=0.03, noise_variance=0.03)


@dataclass(frozen=True)
class BlendConfig:
    """Constants of a blend.

    Chosen on the families of `examples.papers.universal`, with other draws of labels than it reports; RESULTS.md says
    what each would have got from a choice by the others ("Constants of scores without labels").

    Attributes:
        weights_of_operations: expected weights of the prior scores, in normal scores of labels, in families where
            FLOPs and parameters go together, as operations alone are chosen.
        weights_of_sizes: in families where they do not: depths, widths and resolutions are chosen.
        operations_from: size consistency from which on the first are taken; see `size_consistency`.
        sizes_to: up to which the second are; between them both are mixed.
        weight_variance: of the weight of each prior score.
        min_size_std: of logarithms (base 2) of a size over a pool: what varies less is not scaled up.
        full_trust: share of its prior standard deviation over a pool that a multi-task GP's expectation must have to
            count in full: it expects little of graphs unlike those it learned from.
        typical_transfer: correlation of multi-task GPs with labels of families left out, at which they count in full.
        max_explained: share of the variance of labels that prior scores are expected to explain, at most.
        kernel_prior: of the Gaussian process on graphs.
        opposite_probability: that labels go against what sizes and source families say, as of a latency that is to be
            small; the expectation itself has 1.
        hint_variance: of the weight of each hint, over the number of hints.
        followed_weight: expected weight of a hint where labels follow it alone.
        followed_variance: of all weights there.
        followed_prior: of the Gaussian process there: what is left is small.
        followed_correlation: of labels and a hint, from which on labels are taken as they are, not by their ranks.
        max_labels_of_candidates: labels beyond which the expectation is the only candidate: each costs their cube.
        shared_variance: of each kernel of each view in what families have in common, in units of normal scores.
        family_variance: of each kernel of each view in what is a family's own.
        offset_variance: of a family's mean.
        noise_variance: of a label.
        rbf_rate: an RBF falls by e with each 1 / rbf_rate of the mean squared distance.
        linear_weights: of the linear kernels of properties and of path features, beside an RBF of weight 1 for each.
        relative_rbf_rate: of features relative to their family, whose kernel is an RBF alone.
        max_correlation: of log FLOPs and log parameters in a family; from here on all are the same.
        sampled_networks: networks of a source family that are kept, at most: the process costs the cube of all.
        label_bins: into which a source family's labels are put: weights that are given away should not hold labels.
        gnn_min_labels: labels from which on graph neural networks are tried beside the process, where they are wanted.
        gnn_max_labels: labels up to which they are.
        gnn_weight: of their scores in the mean with the process.
        gnn_folds: of the cross-validation that decides whether they have that weight.
        gnn_members: how many are trained.
        gnn_calibration_graphs: graphs of a pool over which their outputs are brought to the scale of the process.
        gnn_train: how they are trained; all labels are in one batch, which is prepared once.
    """

    weights_of_operations: Weights = (0.05, 0.0, 0.05, 0.2, 0.4, 0.3)
    weights_of_sizes: Weights = (0.6, 0.15, 0.1, 0.1, 0.1, 0.0)
    operations_from: float = 2.4
    sizes_to: float = 1.6
    weight_variance: float = 0.03
    min_size_std: float = 0.05
    full_trust: float = 0.4
    typical_transfer: float = 0.5
    max_explained: float = 0.7
    kernel_prior: KernelPrior = KERNEL_PRIOR
    opposite_probability: float = 0.02
    hint_variance: float = 0.1
    followed_weight: float = 0.9
    followed_variance: float = 0.01
    followed_prior: KernelPrior = FOLLOWED_PRIOR
    followed_correlation: float = 0.9
    max_labels_of_candidates: int = 300
    shared_variance: float = 0.15
    family_variance: float = 0.1
    offset_variance: float = 10.0
    noise_variance: float = 0.2
    rbf_rate: float = 10.0
    linear_weights: tuple[float, float] = (3.0, 1.0)
    relative_rbf_rate: float = 0.3
    max_correlation: float = 0.99
    sampled_networks: int = 100
    label_bins: int = 10
    gnn_min_labels: int = 40
    gnn_max_labels: int = 100
    gnn_weight: float = 0.2
    gnn_folds: int = 4
    gnn_members: int = 3
    gnn_calibration_graphs: int = 500
    gnn_train: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=100, batch=100))

    def to_json(self) -> dict[str, Any]:
        """As numbers, lists and dictionaries."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> BlendConfig:
        """What `to_json` gave, also after a round trip through JSON, which turns tuples into lists."""
        for name in (item.name for item in fields(cls) if isinstance(item.default, int | float)):
            if type(values[name]) not in (int, float):
                raise TypeError(f"{name}: expected a number, found {values[name]!r:.60}")
        counts = {"weights_of_operations": 6, "weights_of_sizes": 6, "linear_weights": 2}
        tuples = {name: _numbers(values[name], name, count) for name, count in counts.items()}
        priors = {name: KernelPrior(*_numbers(values[name], name, 4)) for name in ("kernel_prior", "followed_prior")}
        train = config_from(TrainConfig, values["gnn_train"])
        return cls(**{**values, **tuples, **priors, "gnn_train": train})


def _numbers(values: Any, name: str, count: int) -> tuple[float, ...]:
    """So many numbers of JSON."""
    if len(values) != count or any(type(value) not in (int, float) for value in values):
        raise TypeError(f"{name}: expected {count} numbers, found {values!r:.60}")
    return tuple(map(float, values))
