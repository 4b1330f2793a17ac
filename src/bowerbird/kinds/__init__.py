"""The shelf of kinds: the only modules that join a medium to a model."""

from bowerbird.base.shelf import Shelf
from bowerbird.kinds.image import IMAGE
from bowerbird.kinds.kind import Kind
from bowerbird.kinds.melody import MELODY
from bowerbird.kinds.text import TEXT

KINDS: Shelf[Kind] = Shelf("kind", text=TEXT, melody=MELODY, image=IMAGE)
