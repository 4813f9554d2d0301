"""The models, in one table. A new one is a file here and a line in ``MODELS``."""

from __future__ import annotations

import os
from typing import Any

from isthmus import store
from isthmus.errors import DamagedFileError
from isthmus.models.autoencoder import Autoencoder
from isthmus.models.embedding import Embedding
from isthmus.models.pca import PCA
from isthmus.models.vae import VAE

__all__ = ["MODELS", "load"]

MODELS: dict[str, type[Embedding]] = {
    "pca": PCA,
    "autoencoder": Autoencoder,
    "vae": VAE,
}


def load(path: str | os.PathLike[str], **given: Any) -> Any:
    """The model that ``save`` wrote.

    Everything in the file is checked, and nothing in it is run.

    Parameters
    ----------
    path : a NAME.isthmus file
    given : settings that no file can hold: ``network=(encoder, decoder)`` for a model of your own torch modules

    Raises
    ------
    FileError : no such file
    DamagedFileError : cut short, altered, or not a model
    FutureFileError : written by a newer version
    """
    contents = store.read(path)
    word = contents.model.get("model")
    if word not in MODELS:
        what = "a checkpoint of a run that has not ended" if contents.model.get("checkpoint") else repr(word)
        raise DamagedFileError(f"{os.fspath(path)} holds {what}, not one of the models {', '.join(MODELS)}")
    return MODELS[word]._from_contents(contents, **given)
