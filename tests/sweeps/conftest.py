"""Sweeps make many runs: their curves are not drawn here, which would take longer than the training."""

from __future__ import annotations

import pytest

from bowerbird.evaluation import curve


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curve, "draw_curve", lambda records, path: True)
