"""Architecture search: finds the best networks of a space under a budget of oracle queries, guided by a predictor."""

from .baselines import aging_evolution as aging_evolution
from .baselines import random_search as random_search
from .evolution import evolve as evolve
from .history import History as History
