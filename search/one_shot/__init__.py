"""One-shot search: supernets, their training, and rules that select operations from them.

network = supernet("nasbench201", channels=8, cells=1, image=(1, 8, 8))
train_images, valid_images = load_images("digits").split()
trained = train(network, train_images, valid_images, steps=200)
print(select(trained, valid_images, "argmax").table())
"""

from .causal_selection import causal as causal
from .causal_statistics import Statistics as Statistics
from .causal_statistics import one_shot_statistics as one_shot_statistics
from .checkpoints import load_trained as load_trained
from .images import Images as Images
from .images import load_images as load_images
from .network import Supernet as Supernet
from .selection import RULES as RULES
from .selection import Selected as Selected
from .selection import select as select
from .supernets import SUPERNETS as SUPERNETS
from .supernets import supernet as supernet
from .train_settings import TrainSettings as TrainSettings
from .trained import Trained as Trained
from .trained import untrained as untrained
from .training import train as train
