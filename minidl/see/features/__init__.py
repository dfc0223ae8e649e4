"""What trained networks have learnt, as pictures with the numbers behind them: filters, patches, gradients, dreams.

Every function takes a model and arrays, and returns a dataclass: printing it shows the numbers, ``to_dict()`` has all
of them, ``save(path)`` writes its picture, ``image()`` is that picture as an array.
"""

from .ascent import Dream, Maximised, dream, maximize
from .attribution import Attribution, deconvnet, grad_cam, guided_backprop, saliency
from .colours import Colours
from .effects import KERNELS, Effects, effects
from .field import ReceptiveField, receptive_field
from .filters import Filters, Maps, filters, maps
from .neighbours import Near, Neighbours, neighbours
from .occlusion import Occlusion, occlusion
from .patches import Patch, Patches, patches
from .picture import Picture, Several, captioned, grid
from .relu_rules import relu_backward
from .shifting import LayerShift, Shifting, shift
from .surface import Surface, filter_normalised, loss_surface
from .units import Sight, Unit, find_unit, sight

__all__ = [
    "KERNELS",
    "Attribution",
    "Colours",
    "Dream",
    "Effects",
    "Filters",
    "LayerShift",
    "Maps",
    "Maximised",
    "Near",
    "Neighbours",
    "Occlusion",
    "Patch",
    "Patches",
    "Picture",
    "ReceptiveField",
    "Several",
    "Shifting",
    "Sight",
    "Surface",
    "Unit",
    "captioned",
    "deconvnet",
    "dream",
    "effects",
    "filter_normalised",
    "filters",
    "find_unit",
    "grad_cam",
    "grid",
    "guided_backprop",
    "loss_surface",
    "maps",
    "maximize",
    "neighbours",
    "occlusion",
    "patches",
    "receptive_field",
    "relu_backward",
    "saliency",
    "shift",
    "sight",
]
