"""Contrastive pretraining of graph encoders on unlabelled graphs."""

# ruff: noqa: E402  (the check comes first, as the ImportError of a shadowed package names neither file)
from cgir.package_check import check_packages

check_packages("frontends", "encoders")

from .config import WEIGHTS as WEIGHTS
from .config import PretrainConfig as PretrainConfig
from .event_files import tensorboard_log as tensorboard_log
from .objectives.contrastive_losses import log_similarity as log_similarity
from .objectives.contrastive_losses import simclr as simclr
from .objectives.contrastive_losses import spectral_supcon as spectral_supcon
from .objectives.contrastive_losses import spectral_weights as spectral_weights
from .objectives.contrastive_losses import supcon as supcon
from .pair_sampler import NearestNeighbourPairs as NearestNeighbourPairs
from .potential_spectrum import operator_spectrum as operator_spectrum
from .pretraining import pretrain as pretrain
from .pretraining_set import as_pool as as_pool
