"""Architecture search: finds the best networks of a space under a budget of oracle queries, guided by a predictor."""

# ruff: noqa: E402  (the check comes first, as the ImportError of a shadowed package names neither file)
from cgir.package_check import check_packages

check_packages("frontends", "encoders")

from .baselines import aging_evolution as aging_evolution
from .baselines import random_search as random_search
from .evolution import evolve as evolve
from .history import History as History
from .workers import ProcessWorkers as ProcessWorkers
from .workers import limited as limited
