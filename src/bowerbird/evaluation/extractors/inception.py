"""`inception`: the features of published FIDs (Szegedy et al. 2015, arXiv:1512.00567), from weights the user has.

Nothing is downloaded. The weights are those of torch-fidelity; they are read as data, never as code.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bowerbird.base.digest import digest_file
from bowerbird.base.errors import CorruptFile, MissingExtra, NotFound, UsageError
from bowerbird.evaluation.extractors.extractor import (
    Extractor,
    ExtractorPart,
    Features,
    Pictures,
    PictureSet,
    on_white,
    tiles,
)

VARIABLE = "BOWERBIRD_INCEPTION"
"""Names the file, where it is not in torch's own cache."""
FILE = "weights-inception-2015-12-05-6726825d.pth"
_FILES = (FILE, "pt_inception-2015-12-05-6726825d.pth")
"""As torch-fidelity and pytorch-fid name one and the same file in that cache."""
_PUBLISHED = "sha256:6726825d"
"""How its digest begins."""
_LAYER = "2048"
_TILE = 32


def weights_file() -> Path:
    """Where the weights are, or would be."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    places = [Path(torch.hub.get_dir()) / "checkpoints" / name for name in _FILES]
    return next((place for place in places if place.is_file()), places[0])


def at_hand() -> bool:
    """Whether both the package and its weights are on this machine."""
    return importlib.util.find_spec("torch_fidelity") is not None and weights_file().is_file()


def build(dataset: PictureSet, seconds: float = 0.0) -> Extractor:
    """The extractor, the same for every dataset.

    Raises:
        MissingExtra: torch-fidelity is not installed.
        UsageError: it is, and cannot be imported beside this torch.
        NotFound: the weights are not there.
        CorruptFile: the file does not hold the network's weights, or holds more than weights.
    """
    try:
        module = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    except ImportError as error:
        raise MissingExtra(
            "the extractor `inception`", "inception", instead="use the extractors `own` and `gradients`"
        ) from error
    except (RuntimeError, AttributeError, OSError) as error:  # its torchvision, made for another torch
        raise UsageError(
            f"torch-fidelity cannot be imported: {_first_line(error)}",
            hint="install the torchvision that goes with this torch, or use the extractors `own` and `gradients`",
        ) from error
    path = weights_file()
    if not path.is_file():
        raise NotFound(
            "the weights of the extractor `inception` are not here",
            where=path,
            hint=f"put torch-fidelity's file {FILE} there, or name it in {VARIABLE}",
        )
    network = _loaded(module, path)

    def features(pictures: Pictures) -> Features:
        found = np.zeros((len(pictures), int(_LAYER)), np.float32)
        for place, tile in tiles(pictures, _TILE):
            colours = np.rint(on_white(tile) * 255).astype(np.uint8)
            batch = torch.from_numpy(np.ascontiguousarray(np.moveaxis(colours, -1, 1)))
            with torch.no_grad():
                made = network(batch)[0]
            found[place] = made.flatten(1).float().numpy()[: place.stop - place.start]
        return found

    digest = digest_file(path)
    return Extractor("inception", int(_LAYER), digest, features, _note(digest))


def _note(digest: str) -> str:
    if digest.startswith(_PUBLISHED):
        return "Inception-v3 as ported by torch-fidelity, the features that published FIDs are in"
    return "Inception-v3 with other weights than torch-fidelity's: not comparable with published FIDs"


def _loaded(module: Any, path: Path) -> Any:
    """The network with its weights. The file is first read by itself, so that code in a pickle is refused."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
        network = module.FeatureExtractorInceptionV3(
            "inception-v3-compat", [_LAYER], feature_extractor_weights_path=str(path)
        )
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, LookupError) as error:
        raise CorruptFile(
            f"these are not the weights of Inception-v3: {_first_line(error)}",
            where=path,
            hint=f"get torch-fidelity's file {FILE} again",
        ) from error
    return network.eval()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


INCEPTION = ExtractorPart(
    build, "Inception-v3, for FIDs as published; needs its weights (BOWERBIRD_INCEPTION)"
)
