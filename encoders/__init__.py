"""Graphs -> vectors -> scores: encoders, heads, the predictor that is fitted to few labels, and metrics."""

from . import metrics as metrics
from .average import Average as Average
from .baselines import CostPredictor as CostPredictor
from .baselines import HandPredictor as HandPredictor
from .baselines import TreesPredictor as TreesPredictor
from .baselines import log_flops as log_flops
from .baselines import log_params as log_params
from .batching import Graphs as Graphs
from .batching import GraphTensors as GraphTensors
from .batching import TensorBatch as TensorBatch
from .carl import CARL as CARL
from .carl import CarlConfig as CarlConfig
from .checkpoints import load_encoder as load_encoder
from .checkpoints import save_encoder as save_encoder
from .encoder import Encoder as Encoder
from .encoder import EncoderConfig as EncoderConfig
from .explain import Explanation as Explanation
from .explain import occlusion as occlusion
from .predictor import Predictor as Predictor
from .pretrained import load_pretrained as load_pretrained
from .siblings import SiblingConfig as SiblingConfig
from .siblings import SiblingTransformer as SiblingTransformer
from .training import TrainConfig as TrainConfig
