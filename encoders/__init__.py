"""Graphs -> vectors -> scores: encoders, heads, the predictor that is fitted to few labels, and metrics."""

from . import metrics as metrics
from .engine.batching import Graphs as Graphs
from .engine.batching import GraphTensors as GraphTensors
from .engine.batching import TensorBatch as TensorBatch
from .explain import Explanation as Explanation
from .explain import occlusion as occlusion
from .models.carl import CARL as CARL
from .models.carl import CarlConfig as CarlConfig
from .models.checkpoints import load_encoder as load_encoder
from .models.checkpoints import save_encoder as save_encoder
from .models.encoder import Encoder as Encoder
from .models.encoder import EncoderConfig as EncoderConfig
from .models.nn_former import SiblingConfig as SiblingConfig
from .models.nn_former import SiblingTransformer as SiblingTransformer
from .predictors.baselines import CostPredictor as CostPredictor
from .predictors.baselines import HandPredictor as HandPredictor
from .predictors.baselines import TreesPredictor as TreesPredictor
from .predictors.baselines import log_flops as log_flops
from .predictors.baselines import log_params as log_params
from .predictors.predictor import Predictor as Predictor
from .predictors.pretrained import load_pretrained as load_pretrained
from .predictors.stacking import Average as Average
from .predictors.stored_embeddings import StoredEmbeddings as StoredEmbeddings
from .predictors.stored_embeddings import embed_store as embed_store
from .training.loop import TrainConfig as TrainConfig
