"""The shelf of exporters: the formats a model can be written to."""

from __future__ import annotations

from bowerbird.base.shelf import Shelf
from bowerbird.store.exporters.exporter import Exported, Exporter, Port, Runner
from bowerbird.store.exporters.keras import H5, KERAS
from bowerbird.store.exporters.onnx import ONNX
from bowerbird.store.exporters.pth import PTH
from bowerbird.store.exporters.safetensors import SAFETENSORS
from bowerbird.store.exporters.tflite import TFLITE

EXPORTERS: Shelf[Exporter] = Shelf(
    "exporter", safetensors=SAFETENSORS, pth=PTH, onnx=ONNX, keras=KERAS, h5=H5, tflite=TFLITE
)

__all__ = ["EXPORTERS", "Exported", "Exporter", "Port", "Runner"]
