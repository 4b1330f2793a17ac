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
from bowerbird.base.errors import CorruptFile, MissingExtra, NotFound
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
FILE = "pt_inception-2015-12-05-6726825d.pth"
_LAYER = "2048"
_TILE = 32


def weights_file() -> Path:
    """Where the weights are, or would be."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else Path(torch.hub.get_dir()) / "checkpoints" / FILE


def at_hand() -> bool:
    """Whether both the package and its weights are on this machine."""
    return importlib.util.find_spec("torch_fidelity") is not None and weights_file().is_file()


def build(dataset: PictureSet, seconds: float = 0.0) -> Extractor:
    """The extractor, the same for every dataset.

    Raises:
        MissingExtra: torch-fidelity is not installed.
        NotFound: the weights are not there.
        CorruptFile: the file does not hold the network's weights, or holds more than weights.
    """
    try:
        module = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    except ImportError as error:
        raise MissingExtra(
            "the extractor `inception`", "inception", instead="use the extractors `own` and `gradients`"
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

    note = "Inception-v3 as ported by torch-fidelity, the features that published FIDs are in"
    return Extractor("inception", int(_LAYER), digest_file(path), features, note)


def _loaded(module: Any, path: Path) -> Any:
    """The network with its weights. The file is first read by itself, so that code in a pickle is refused."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
        network = module.FeatureExtractorInceptionV3(
            "inception-v3-compat", [_LAYER], feature_extractor_weights_path=str(path)
        )
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise CorruptFile(
            f"these are not the weights of Inception-v3: {reason}",
            where=path,
            hint=f"get torch-fidelity's file {FILE} again",
        ) from error
    return network.eval()


INCEPTION = ExtractorPart(
    build, "Inception-v3, for FIDs as published; needs its weights (BOWERBIRD_INCEPTION)"
)
