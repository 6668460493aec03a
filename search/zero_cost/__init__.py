"""Zero-cost proxies: what an untrained network's first passes tell of its accuracy."""

from .az_nas import rank_az_nas as rank_az_nas
from .regression import dense_regression as dense_regression
from .rehearsal import Rehearsal as Rehearsal
from .rehearsal import rehearse as rehearse
from .scoring import NAMES as NAMES
from .scoring import score as score
