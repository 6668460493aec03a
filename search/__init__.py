"""Architecture search: finds the best networks of a space under a budget of oracle queries, guided by a predictor.

    history = search.evolve(space, predictor, oracle, queries=50, objectives=["accuracy", "-flops"], path="log.jsonl")
    print(history.best_value, history.top(5), history.front())

Searches: `evolve`, and beside it `random_search`, `aging_evolution`, `local_search` and `proxy_search`. For a loop of
your own: `Search`, with `ask`, `tell` and `add`, of `evolution_method`, `random_method`, `aging_method`, `local_method`
or `proxy_method`. Networks of your own list: `ListedSpace`. What was found: `History`, and `write_report` of several.
Where the oracle runs: `ProcessWorkers`, `limited`. As an answer: `latency`, `zero_cost`. Supernets: `one_shot`.
"""

# ruff: noqa: E402  (the check comes first, as the ImportError of a shadowed package names neither file)
from cgir.package_check import check_packages

check_packages("frontends", "encoders")

from . import pareto
from .ask_tell import Method as Method
from .ask_tell import Search as Search
from .ask_tell import Trial as Trial
from .baselines import aging_evolution as aging_evolution
from .baselines import aging_method as aging_method
from .baselines import random_method as random_method
from .baselines import random_search as random_search
from .evolution import evolution_method as evolution_method
from .evolution import evolve as evolve
from .history import History as History
from .listed_space import ListedSpace as ListedSpace
from .measured_latency import Latency as Latency
from .measured_latency import latencies as latencies
from .measured_latency import latency as latency
from .neighbours import local_method as local_method
from .neighbours import local_search as local_search
from .pareto import hypervolume as hypervolume
from .proxy_order import proxy_method as proxy_method
from .proxy_order import proxy_search as proxy_search
from .query_loop import run_search as run_search
from .report import write_report as write_report
from .workers import ProcessWorkers as ProcessWorkers
from .workers import limited as limited

pareto_front = pareto.front
