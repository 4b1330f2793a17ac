"""Bowerbird: your own generative model, from a folder of your own texts to a served answer.

The functions are the stages of a model's life, in order: `prepare`, `train`, `resume`, `sweep`,
`finetune`, `load`, `evaluate`, `publish`, `versions`, `history`, `diff`, `promote`, `rollback`, `export`;
`sign`, `verify`, `encrypt` and `decrypt` secure a model, `import_model` brings one in from elsewhere,
`verify_resume` proves a promise.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from bowerbird.base.errors import BowerbirdError as BowerbirdError
    from bowerbird.data.dataset import Dataset as Dataset
    from bowerbird.evaluation.report import Report as Report
    from bowerbird.kinds.loaded import Model as Model
    from bowerbird.kinds.loaded import Sample as Sample
    from bowerbird.lifecycle import (
        decrypt,
        diff,
        encrypt,
        evaluate,
        export,
        finetune,
        history,
        import_model,
        load,
        prepare,
        promote,
        publish,
        resume,
        rollback,
        sign,
        sweep,
        train,
        verify,
        verify_resume,
        versions,
    )
    from bowerbird.runs.run import Run as Run
    from bowerbird.sweeps.sweep import Sweep as Sweep
    from bowerbird.workspace import Workspace as Workspace

_HOMES = {
    "BowerbirdError": "base.errors",
    "Dataset": "data.dataset",
    "Model": "kinds.loaded",
    "Report": "evaluation.report",
    "Run": "runs.run",
    "Sample": "kinds.loaded",
    "Sweep": "sweeps.sweep",
    "Workspace": "workspace",
}

__all__ = [
    "BowerbirdError",
    "Dataset",
    "Model",
    "Report",
    "Run",
    "Sample",
    "Sweep",
    "Workspace",
    "__version__",
    "decrypt",
    "diff",
    "encrypt",
    "evaluate",
    "export",
    "finetune",
    "history",
    "import_model",
    "load",
    "prepare",
    "promote",
    "publish",
    "resume",
    "rollback",
    "sign",
    "sweep",
    "train",
    "verify",
    "verify_resume",
    "versions",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that importing the package is quick."""
    if name not in __all__:
        raise AttributeError(f"module 'bowerbird' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"bowerbird.{_HOMES.get(name, 'lifecycle')}"), name)
