from .config import TrainConfig as TrainConfig
from .trainer import Trainer as Trainer
