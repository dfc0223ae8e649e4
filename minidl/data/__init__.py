"""Data sets, loaders, readers of the usual formats, and augmentation."""

from . import transforms
from .cifar import CIFAR10, CIFAR100
from .collate import default_collate
from .dataset import ArrayDataset, ConcatDataset, Dataset, Mapped, Subset, TensorDataset, random_split
from .digits import Digits, enlarge_digits
from .errors import DataError, DataNotFoundError, SampleError
from .folder import ImageFolder, read_image
from .idx import read_idx, write_idx
from .loader import DataLoader
from .mnist import MNIST, FashionMNIST
from .rng import sample_rng
from .sampler import RandomSampler, Sampler, SequentialSampler, WeightedRandomSampler
from .unpickle import load_data_pickle

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "ArrayDataset",
    "ConcatDataset",
    "DataError",
    "DataLoader",
    "DataNotFoundError",
    "Dataset",
    "Digits",
    "FashionMNIST",
    "ImageFolder",
    "Mapped",
    "RandomSampler",
    "SampleError",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "TensorDataset",
    "WeightedRandomSampler",
    "default_collate",
    "enlarge_digits",
    "load_data_pickle",
    "random_split",
    "read_idx",
    "read_image",
    "sample_rng",
    "transforms",
    "write_idx",
]
