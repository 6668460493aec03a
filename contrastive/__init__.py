"""Pretraining of encoders on unlabelled graphs."""

from .batches import NearPairs as NearPairs
from .losses import agreement as agreement
from .losses import simclr as simclr
from .losses import spectral_supcon as spectral_supcon
from .losses import spectral_weights as spectral_weights
from .losses import supcon as supcon
from .objective import PretrainConfig as PretrainConfig
from .pretrain import pretrain as pretrain
