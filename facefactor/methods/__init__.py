"""The methods by name; each is a folder that holds one paper and imports no other method.

A method is seen through its `recipe` module: `Recipe` (a frozen dataclass), `PRESETS` (name ->
Recipe), `build(recipe)` (the untrained model), `begin(recipe, recogniser)` (the model a
training begins with, its frozen parts read from the user's files), `load_instrument(recipe)` (the
frozen network its losses look through, or None) and `stages(recipe, model, instrument)`.
"""

from types import ModuleType

from facefactor.methods.facecycle import recipe as facecycle
from facefactor.methods.ipdfer import recipe as ipdfer
from facefactor.methods.leed import recipe as leed
from facefactor.methods.neurotensorial import recipe as neurotensorial
from facefactor.methods.nfgan import recipe as nfgan
from facefactor.methods.stargan import recipe as stargan

METHODS: dict[str, ModuleType] = {
    "facecycle": facecycle,
    "ipdfer": ipdfer,
    "leed": leed,
    "neurotensorial": neurotensorial,
    "nfgan": nfgan,
    "stargan": stargan,  # the baseline of editing by labels, and a neutraliser; none of the five
}
