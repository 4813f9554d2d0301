"""Isthmus learns small codes of data and uses them.

    import isthmus as im

    X = im.datasets.digits()                  # (1797, 8, 8) uint8
    model = im.VAE(latent_dim=16).fit(X)
    Z = model.encode(X)                       # (1797, 16) float32
    X2 = model.decode(Z)                      # (1797, 8, 8) uint8 again
    print(im.evaluate(model, X))

The names below are the whole public list. Each is imported when it is first used, so ``import isthmus`` is quick.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isthmus import datasets, errors, formats, likelihoods, priors
    from isthmus.evaluate import compare, evaluate
    from isthmus.formats.infer import format_of
    from isthmus.formats.streams import stream
    from isthmus.models import load
    from isthmus.models.autoencoder import Autoencoder
    from isthmus.models.pca import PCA
    from isthmus.models.vae import VAE
    from isthmus.verbs.anomalies import anomaly_scores, contributions, detect
    from isthmus.verbs.arithmetic import analogy, arithmetic, average, concept, drags, nearest, templates
    from isthmus.verbs.clusters import clusters
    from isthmus.verbs.compare_codes import compare_codes
    from isthmus.verbs.denoise import denoise
    from isthmus.verbs.detector import AnomalyDetector
    from isthmus.verbs.disentanglement import disentanglement
    from isthmus.verbs.generate import augment, interpolate, sample
    from isthmus.verbs.generation import generation_report
    from isthmus.verbs.impute import impute
    from isthmus.verbs.label import label
    from isthmus.verbs.layers import layers
    from isthmus.verbs.search import index, search
    from isthmus.verbs.superresolve import superresolve
    from isthmus.verbs.traverse import decoded_grid, latents, traverse
    from isthmus.view import plots
    from isthmus.view.explorer import explore
    from isthmus.view.report import report

    __version__: str


__all__ = [
    "PCA",
    "VAE",
    "AnomalyDetector",
    "Autoencoder",
    "__version__",
    "analogy",
    "anomaly_scores",
    "arithmetic",
    "augment",
    "average",
    "clusters",
    "compare",
    "compare_codes",
    "concept",
    "contributions",
    "datasets",
    "decoded_grid",
    "denoise",
    "detect",
    "disentanglement",
    "drags",
    "errors",
    "evaluate",
    "explore",
    "format_of",
    "formats",
    "generation_report",
    "impute",
    "index",
    "interpolate",
    "label",
    "latents",
    "layers",
    "likelihoods",
    "load",
    "nearest",
    "plots",
    "priors",
    "report",
    "sample",
    "search",
    "stream",
    "superresolve",
    "templates",
    "traverse",
]

# Where each name lives. A module that is public as a whole stands under its own name.
_HOMES = {
    "PCA": "isthmus.models.pca",
    "VAE": "isthmus.models.vae",
    "Autoencoder": "isthmus.models.autoencoder",
    "analogy": "isthmus.verbs.arithmetic",
    "arithmetic": "isthmus.verbs.arithmetic",
    "augment": "isthmus.verbs.generate",
    "AnomalyDetector": "isthmus.verbs.detector",
    "anomaly_scores": "isthmus.verbs.anomalies",
    "contributions": "isthmus.verbs.anomalies",
    "detect": "isthmus.verbs.anomalies",
    "clusters": "isthmus.verbs.clusters",
    "average": "isthmus.verbs.arithmetic",
    "compare": "isthmus.evaluate",
    "compare_codes": "isthmus.verbs.compare_codes",
    "concept": "isthmus.verbs.arithmetic",
    "datasets": "isthmus.datasets",
    "decoded_grid": "isthmus.verbs.traverse",
    "denoise": "isthmus.verbs.denoise",
    "disentanglement": "isthmus.verbs.disentanglement",
    "drags": "isthmus.verbs.arithmetic",
    "errors": "isthmus.errors",
    "evaluate": "isthmus.evaluate",
    "explore": "isthmus.view.explorer",
    "format_of": "isthmus.formats.infer",
    "formats": "isthmus.formats",
    "generation_report": "isthmus.verbs.generation",
    "impute": "isthmus.verbs.impute",
    "index": "isthmus.verbs.search",
    "interpolate": "isthmus.verbs.generate",
    "label": "isthmus.verbs.label",
    "latents": "isthmus.verbs.traverse",
    "layers": "isthmus.verbs.layers",
    "superresolve": "isthmus.verbs.superresolve",
    "traverse": "isthmus.verbs.traverse",
    "likelihoods": "isthmus.likelihoods",
    "load": "isthmus.models",
    "nearest": "isthmus.verbs.arithmetic",
    "plots": "isthmus.view.plots",
    "priors": "isthmus.priors",
    "report": "isthmus.view.report",
    "sample": "isthmus.verbs.generate",
    "search": "isthmus.verbs.search",
    "stream": "isthmus.formats.streams",
    "templates": "isthmus.verbs.arithmetic",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # slow to import, seldom asked for

        value: Any = version("isthmus")
    elif name in _HOMES:
        module = import_module(_HOMES[name])
        value = module if _HOMES[name].endswith(f".{name}") and not hasattr(module, name) else getattr(module, name)
    else:
        raise AttributeError(f"module 'isthmus' has no attribute {name!r}; it has {', '.join(sorted(__all__))}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Keeps ``isthmus.evaluate`` the function: importing the file of that name would lay the module over it."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "evaluate" and isinstance(value, ModuleType):
            value = value.evaluate
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
