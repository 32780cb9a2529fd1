"""The frozen networks of our own by name; each is a folder that says how one was trained.

Like a method, an instrument is seen through its `recipe` module (see `facefactor.methods`); its
network has no factors, but `crop` and `image_size`.
"""

from types import ModuleType

from facefactor.instruments.landmarks import recipe as landmarks
from facefactor.instruments.recogniser import recipe as recogniser

INSTRUMENTS: dict[str, ModuleType] = {"landmarks": landmarks, "recogniser": recogniser}
