"""Graphs -> vectors -> scores: encoders, heads, the predictor that is fitted to few labels, and metrics."""

from . import metrics as metrics
from .baselines import CostPredictor as CostPredictor
from .baselines import hand_predictor as hand_predictor
from .baselines import log_flops as log_flops
from .baselines import log_params as log_params
from .batching import Graphs as Graphs
from .batching import GraphTensors as GraphTensors
from .batching import TensorBatch as TensorBatch
from .checkpoints import load_encoder as load_encoder
from .checkpoints import save_encoder as save_encoder
from .encoder import Encoder as Encoder
from .encoder import EncoderConfig as EncoderConfig
from .predictor import Predictor as Predictor
from .training import TrainConfig as TrainConfig
