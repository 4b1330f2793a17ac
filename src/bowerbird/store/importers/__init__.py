"""The shelf of importers: foreign model files read as data, none of their code run."""

from bowerbird.base.shelf import Shelf
from bowerbird.store.importers.h5 import H5
from bowerbird.store.importers.importer import Importer
from bowerbird.store.importers.keras import KERAS
from bowerbird.store.importers.pth import PTH
from bowerbird.store.importers.safetensors import SAFETENSORS

IMPORTERS: Shelf[Importer] = Shelf("importer", safetensors=SAFETENSORS, pth=PTH, keras=KERAS, h5=H5)
