"""Explanations of one graph's score: CARL's masks, occlusion, integrated gradients."""

from .explanation import Explanation as Explanation
from .methods import ExplainablePredictor as ExplainablePredictor
from .methods import explain as explain
from .occlusion_scores import occlusion as occlusion
