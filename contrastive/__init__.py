"""Pretraining of encoders on unlabelled graphs."""

from .batches import NearPairs as NearPairs
from .config import WEIGHTS as WEIGHTS
from .config import PretrainConfig as PretrainConfig
from .losses import agreement as agreement
from .losses import simclr as simclr
from .losses import spectral_supcon as spectral_supcon
from .losses import spectral_weights as spectral_weights
from .losses import supcon as supcon
from .pool import as_pool as as_pool
from .potential import operator_spectrum as operator_spectrum
from .pretrain import pretrain as pretrain
