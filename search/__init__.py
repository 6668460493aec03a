"""Using a score: searches for the best networks of any space, with any predictor."""

from .baselines import aging_evolution as aging_evolution
from .baselines import random_search as random_search
from .evolution import evolve as evolve
from .history import History as History
