"""Zero-cost proxies: what an untrained network's first passes tell of its accuracy."""

from .scoring import NAMES as NAMES
from .scoring import score as score
