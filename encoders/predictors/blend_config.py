"""Tuned constants of the blend, in one place: they are shown, swept, and saved with the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from encoders.gaussian_process.model_averaging import AveragingConfig
from encoders.models.checkpoints import config_from
from encoders.training.loop import TrainConfig


@dataclass(frozen=True)
class BlendConfig:
    """Constants of a blend.

    `flops_weight` to `multitask_weight` make the score that needs no label; RESULTS.md has other values, and what each
    target would have got from those that all others choose (`examples.papers.universal_constants`). Those of the GNNs
    were chosen on families of `examples.papers.universal`, with other draws of labels than it reports, where 20 labels
    were too few for them.

    Attributes:
        flops_weight: of standardised log FLOPs beside the source heads, where no pool of the family is given: size is
            where families differ most, and what heads learned elsewhere applies least.
        flops_per_disagreement: where a pool of the family is given, the weight of log FLOPs is this times the squared
            disagreement of the source heads about the pool.
        max_flops_weight: at most this much.
        multitask_weight: of the multi-task GP's expectation beside the source heads.
        shared_variance: of each kernel of each view in what families have in common, in units of normal scores.
        family_variance: of each kernel of each view in what is a family's own.
        offset_variance: of a family's mean.
        noise_variance: of a label.
        rbf_rate: an RBF falls by e with each 1 / rbf_rate of the mean squared distance.
        max_correlation: of log FLOPs and log parameters in a family; from here on all are the same.
        sampled_networks: networks of a source family that are kept, at most: the process costs the cube of all.
        label_bins: into which a source family's labels are put: weights that are given away should not hold labels.
        min_prior_stds: (4,) of the prior scores over a pool: what varies less is not scaled up to unit variance.
        averaging: of prior means.
        gnn_min_labels: labels from which on graph neural networks are trained beside the process.
        gnn_max_labels: labels up to which they are.
        gnn_weight: of their scores in the mean with the process.
        gnn_members: how many are trained.
        gnn_calibration_graphs: graphs of a pool over which their outputs are brought to the scale of the process.
        gnn_train: how they are trained; all labels are in one batch, which is prepared once.
    """

    flops_weight: float = 0.75
    flops_per_disagreement: float = 6.0
    max_flops_weight: float = 4.0
    multitask_weight: float = 3.0
    shared_variance: float = 0.15
    family_variance: float = 0.1
    offset_variance: float = 10.0
    noise_variance: float = 0.2
    rbf_rate: float = 3.0
    max_correlation: float = 0.99
    sampled_networks: int = 100
    label_bins: int = 10
    min_prior_stds: tuple[float, ...] = (0.0, 0.0, 0.0, 0.1)
    averaging: AveragingConfig = field(default_factory=AveragingConfig)
    gnn_min_labels: int = 40
    gnn_max_labels: int = 100
    gnn_weight: float = 0.2
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
            if type(values.get(name, 0)) not in (int, float):
                raise TypeError(f"{name}: expected a number, found {values[name]!r:.60}")
        averaging = dict(values["averaging"])
        weights = tuple(map(tuple, averaging.pop("prior_mean_weights")))
        prior = tuple(averaging.pop("model_prior"))
        return cls(
            **{
                **values,
                "min_prior_stds": tuple(values["min_prior_stds"]),
                "averaging": AveragingConfig(prior_mean_weights=weights, model_prior=prior, **averaging),
                "gnn_train": config_from(TrainConfig, values["gnn_train"]),
            }
        )
