"""One library, one job, one process: ``python benchmarks/contenders.py LIBRARY JOB --epochs N``, a line of JSON.

Run by the environment of the peers, or by our own; nothing of ``benchmarks`` is imported, so that the file runs in
both. Every contender trains the same network with Adam at 1e-3 and batches of 128, on float32 pixels in [0, 1] except
where it takes bytes; what it does beside the training (checking, copying, shuffling, measuring) is its own affair and
counts.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, LATENTS, BATCH, RATE = 512, 16, 128, 1e-3
DEVICE = os.environ.get("CONTENDER_DEVICE", "cpu")  # "cuda" for those that benchmarks/gpu.py compares
NARROW = 256  # hidden units of the autoencoders of numbers
CURVE: list[tuple[float, float]] = []  # seconds of training, and the test figure then, where it was asked for
Fitted = tuple[float, float, Callable[[np.ndarray], float] | None]  # wall s, items a pass, test figure


def mlp_vae(d: int) -> tuple[Any, Any]:
    """Encoder (B, d) -> (B, 2 K) and decoder (B, K) -> (B, d) logits, the network of the job "vae"."""
    from torch import nn

    return (nn.Sequential(nn.Flatten(), nn.Linear(d, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2 * LATENTS)),
            nn.Sequential(nn.Linear(LATENTS, WIDTH), nn.ReLU(), nn.Linear(WIDTH, d)))  # fmt: skip


def layers_of(job: str, d: int) -> tuple[Any, Any]:
    """Encoder and decoder of the autoencoders: "conv", (B, 1, 28, 28) to K and back, and "numbers", d-256-K-256-d."""
    from torch import nn

    if job == "numbers":
        return (nn.Sequential(nn.Linear(d, NARROW), nn.ReLU(), nn.Linear(NARROW, LATENTS)),
                nn.Sequential(nn.Linear(LATENTS, NARROW), nn.ReLU(), nn.Linear(NARROW, d)))  # fmt: skip
    return (
        nn.Sequential(nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Flatten(),
                      nn.Linear(64 * 49, LATENTS)),
        nn.Sequential(nn.Linear(LATENTS, 64 * 49), nn.ReLU(), nn.Unflatten(1, (64, 7, 7)),
                      nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 1, 4, 2, 1)),
    )  # fmt: skip


def squared_error_of(reconstruct: Callable[[np.ndarray], Any]) -> Callable[[np.ndarray], float]:
    """||x - x~||^2 of an item, mean over test data."""

    def measured(test: np.ndarray) -> float:
        again = np.asarray(reconstruct(test)).reshape(len(test), -1)
        return float(np.square(test.reshape(len(test), -1) - again).sum(1).mean())

    return measured


def negative_elbo(encode: Callable[[Any], tuple[Any, Any]], decode: Callable[[Any], Any]) -> Any:
    """-ELBO in nats an item of test data, one draw an item, given (mean, log-variance) and logits."""
    import torch
    import torch.nn.functional as F

    def measured(test: np.ndarray) -> float:
        x = torch.from_numpy(test).to(DEVICE)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            mean, log_variance = encode(x)
            noise = torch.randn(mean.shape, generator=generator).to(DEVICE)
            logits = decode(mean + (0.5 * log_variance).exp() * noise)
            nats = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
            kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        return float((nats + kl).mean())

    return measured


# ---- the contenders: each gives wall seconds, items a pass, and a figure of test data --------------------------------


def isthmus(train: np.ndarray, passes: int, **settings: Any) -> Fitted:
    from torch import nn

    import isthmus as im
    from isthmus.training import engine, recipe
    from isthmus.training.steps import Eager

    d = train[0].size
    encoder, decoder = mlp_vae(d)
    pair = encoder, nn.Sequential(*decoder, nn.Unflatten(1, (1, *((1, 28, 28) if train.ndim == 3 else (d,)))))
    given = {"epochs": passes, "batch_size": BATCH, "rate": RATE, "random_state": 0, "device": DEVICE} | settings
    if not given.pop("bf16", True):
        recipe.bf16_pays = lambda *given: False
    if not given.pop("recorded", True):
        engine.launches_for = lambda feed, size, step, state, module, device, averaged: Eager(feed, size, step, device)
    model = im.VAE(LATENTS, network=pair, likelihood="bernoulli", verbose=False, **given)
    begun = time.monotonic()
    model.fit(train)
    wall = time.monotonic() - begun

    CURVE.extend(zip(model.history_["seconds"], model.history_["held_out"], strict=True))

    def posterior(x: Any) -> tuple[Any, Any]:
        return model._posterior(x.reshape(-1, *model.format_.spec.shape))

    return wall, model.history_["items"] - model.history_["held_out_items"], negative_elbo(
        posterior, lambda z: model.network_.decode(z).flatten(1))  # fmt: skip


def isthmus_autoencoder(train: np.ndarray, epochs: int, **settings: Any) -> Fitted:
    """An autoencoder with the layers of those of PyOD and scikit-learn."""
    import isthmus as im

    model = im.Autoencoder(LATENTS, network=(WIDTH,), verbose=False, **settings)
    begun = time.monotonic()
    model.fit(train)
    wall = time.monotonic() - begun
    CURVE.extend(zip(model.history_["seconds"], model.history_["held_out"], strict=True))

    def squared_error(test: np.ndarray) -> float:
        images = test.reshape(-1, *model.format_.spec.shape)
        means = model._in_blocks(model._mean, model._in_blocks(model._encode, images_of(images)))
        return float(np.square(images - means.numpy()).reshape(len(test), -1).sum(1).mean())

    return wall, model.history_["items"] - model.history_["held_out_items"], squared_error


def isthmus_layers(train: np.ndarray, passes: int, job: str, **settings: Any) -> Fitted:
    """An autoencoder of the layers that the other libraries have."""
    import isthmus as im
    from isthmus.training import recipe

    given = {"epochs": passes, "batch_size": BATCH, "rate": RATE, "random_state": 0} | settings
    if not given.pop("bf16", True):
        recipe.bf16_pays = lambda *given: False
    model = im.Autoencoder(LATENTS, network=layers_of(job, train[0].size), verbose=False, **given)
    begun = time.monotonic()
    model.fit(train)
    wall = time.monotonic() - begun

    def again(test: np.ndarray) -> Any:
        if job == "numbers":
            return model.reconstruct(test)
        images = images_of(test.reshape(-1, *model.format_.spec.shape))
        return model._in_blocks(model._mean, model._in_blocks(model._encode, images)).numpy()

    return wall, model.history_["items"] - model.history_["held_out_items"], squared_error_of(again)


def images_of(array: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(array)


def plain_loop(train: np.ndarray, epochs: int) -> Fitted:
    """What a person writes by hand: DataLoader-free, float32, Adam."""
    import torch
    import torch.nn.functional as F

    x = torch.from_numpy(train).to(DEVICE)
    encoder, decoder = (module.to(DEVICE) for module in mlp_vae(x.shape[1]))
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=RATE)
    begun = time.monotonic()
    for _ in range(epochs):
        order = torch.randperm(len(x), device=DEVICE)
        for start in range(0, len(x) - BATCH + 1, BATCH):
            batch = x[order[start : start + BATCH]]
            mean, log_variance = encoder(batch).chunk(2, 1)
            logits = decoder(mean + (0.5 * log_variance).exp() * torch.randn_like(mean))
            nats = F.binary_cross_entropy_with_logits(logits, batch, reduction="sum")
            kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
            loss = (nats + kl) / len(batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    loss.item()  # waits for a GPU
    wall = time.monotonic() - begun
    return wall, len(x), negative_elbo(lambda x: encoder(x).chunk(2, 1), decoder)


def plain_layers(train: np.ndarray, epochs: int, job: str) -> Fitted:
    """The same loop for an autoencoder."""
    import torch
    import torch.nn.functional as F

    x = images_of(train.reshape(-1, 1, 28, 28) if job == "conv" else train)
    encoder, decoder = layers_of(job, train.shape[1])
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=RATE)
    begun = time.monotonic()
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for start in range(0, len(x) - BATCH + 1, BATCH):
            batch = x[order[start : start + BATCH]]
            loss = F.mse_loss(decoder(encoder(batch)), batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    wall = time.monotonic() - begun

    @torch.no_grad()
    def again(test: np.ndarray) -> Any:
        return decoder(encoder(images_of(test.reshape(-1, *x.shape[1:])))).numpy()

    return wall, len(x), squared_error_of(again)


def pythae(train: np.ndarray, epochs: int, test: np.ndarray | None = None) -> Fitted:
    """``test``: data to measure after every pass, while the clock stands still."""
    import logging

    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    logging.disable(logging.CRITICAL)
    inner, outer = mlp_vae(train.shape[1])

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = inner

        def forward(self, x: Any) -> Any:
            mean, log_variance = self.layers(x).chunk(2, 1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = outer

        def forward(self, z: Any) -> Any:
            return ModelOutput(reconstruction=self.layers(z).sigmoid())

    figure = negative_elbo(lambda x: inner(x).chunk(2, 1), outer)
    begun, waited = 0.0, 0.0

    class Watch(TrainingCallback):
        def on_epoch_end(self, training_config: Any, **given: Any) -> None:
            nonlocal waited
            if test is not None:
                now = time.monotonic()
                CURVE.append((now - begun - waited, figure(test)))
                waited += time.monotonic() - now

    config = VAEConfig(input_dim=(train.shape[1],), latent_dim=LATENTS, reconstruction_loss="bce")
    model = VAE(config, encoder=Encoder(), decoder=Decoder())
    x = torch.from_numpy(train)
    with tempfile.TemporaryDirectory() as folder:
        trainer = BaseTrainer(
            model, train_dataset=BaseDataset(x, torch.zeros(len(x))),
            training_config=BaseTrainerConfig(
                output_dir=folder, num_epochs=epochs, learning_rate=RATE, per_device_train_batch_size=BATCH,
                per_device_eval_batch_size=BATCH, optimizer_cls="Adam", no_cuda=DEVICE == "cpu"),
            callbacks=[Watch()])  # fmt: skip
        begun = time.monotonic()
        trainer.train()
        wall = time.monotonic() - begun - waited
    return wall, len(x), figure


def pyautoencoder(train: np.ndarray, epochs: int) -> Fitted:
    """The package has no loop: its own loss in the loop that its guide shows, over a DataLoader."""
    import torch
    from pyautoencoder.variational import VAE
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    x = torch.from_numpy(train)
    inner, outer = mlp_vae(x.shape[1])
    model = VAE(encoder=nn.Sequential(*inner[:-1]), decoder=outer, latent_dim=LATENTS)
    model(x[:2])  # builds its lazy layers
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    begun = time.monotonic()
    for _ in range(epochs):
        for (batch,) in DataLoader(TensorDataset(x), batch_size=BATCH, shuffle=True):
            loss = model.compute_loss(batch, model(batch), likelihood="bernoulli").objective
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    wall = time.monotonic() - begun

    def posterior(x: Any) -> tuple[Any, Any]:
        found = model.encode(x)
        return found.mu, found.log_var

    return wall, len(x), negative_elbo(posterior, model.decoder)


def autoencoders(train: np.ndarray, epochs: int) -> Fitted:
    import io
    from contextlib import redirect_stderr, redirect_stdout

    import torch
    from autoencoders import TrainingConfig, VAETrainer, VariationalAutoencoderConfig, VariationalAutoencoderModel
    from autoencoders.data.base import DatasetLoaders, TensorSpec
    from torch.utils.data import DataLoader

    x = torch.from_numpy(train)
    inner, outer = ({"hidden_dims": widths, "activation": "relu"} for widths in ([WIDTH], [WIDTH, x.shape[1]]))
    model = VariationalAutoencoderModel(
        config=VariationalAutoencoderConfig(latent_dim=LATENTS), sample_spec=TensorSpec(shape=(x.shape[1],)),
        encoder="mlp", encoder_config=inner, decoder="mlp", decoder_config=outer)  # fmt: skip
    few = DataLoader(x[:BATCH], batch_size=BATCH)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        trainer = VAETrainer(model=model, args=TrainingConfig(
            output_dir=folder, epochs=epochs, batch_size=BATCH, learning_rate=RATE, device="cpu"))  # fmt: skip
        begun = time.monotonic()
        trainer.fit(DatasetLoaders(train=DataLoader(x, batch_size=BATCH, shuffle=True), validation=few, test=few))
        wall = time.monotonic() - begun
    return wall, len(x), None  # its loss is a mean squared error


def keras(train: np.ndarray, epochs: int, backend: str) -> Fitted:
    os.environ["KERAS_BACKEND"] = backend
    import keras
    from keras import layers, ops

    d = train.shape[1]

    class Sampling(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.seeds = keras.random.SeedGenerator(0)

        def call(self, both: Any) -> Any:
            mean, log_variance = both[:, :LATENTS], both[:, LATENTS:]
            self.add_loss(ops.mean(ops.sum(ops.square(mean) + ops.exp(log_variance) - 1 - log_variance, 1)) / 2)
            return mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), seed=self.seeds)

    inputs = layers.Input((d,))
    both = layers.Dense(2 * LATENTS)(layers.Dense(WIDTH, activation="relu")(inputs))
    encoder = keras.Model(inputs, both)
    codes = layers.Input((LATENTS,))
    decoder = keras.Model(codes, layers.Dense(d)(layers.Dense(WIDTH, activation="relu")(codes)))
    model = keras.Model(inputs, decoder(Sampling()(both)))

    def nats(x: Any, logits: Any) -> Any:
        return ops.sum(ops.maximum(logits, 0) - logits * x + ops.log1p(ops.exp(-ops.abs(logits))), axis=-1)

    model.compile(optimizer=keras.optimizers.Adam(RATE), loss=nats)
    begun = time.monotonic()
    model.fit(train, train, batch_size=BATCH, epochs=epochs, verbose=0)
    wall = time.monotonic() - begun

    def posterior(x: Any) -> tuple[Any, Any]:
        import torch

        both = torch.from_numpy(np.array(encoder.predict(x.numpy(), batch_size=1000, verbose=0)))
        return both[:, :LATENTS], both[:, LATENTS:]

    def logits(z: Any) -> Any:
        import torch

        return torch.from_numpy(np.array(decoder.predict(z.numpy(), batch_size=1000, verbose=0)))

    return wall, len(train), negative_elbo(posterior, logits)


def keras_layers(train: np.ndarray, epochs: int, job: str) -> Fitted:
    """Keras on JAX; its convolutions are channels-last."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras
    from keras import layers

    d = train.shape[1]
    if job == "numbers":
        stack = [layers.Input((d,)), layers.Dense(NARROW, "relu"), layers.Dense(LATENTS),
                 layers.Dense(NARROW, "relu"), layers.Dense(d)]  # fmt: skip
    else:
        train = train.reshape(-1, 28, 28, 1)
        stack = [layers.Input((28, 28, 1)), layers.Conv2D(32, 3, 2, "same", activation="relu"),
                 layers.Conv2D(64, 3, 2, "same", activation="relu"), layers.Flatten(), layers.Dense(LATENTS),
                 layers.Dense(64 * 49, "relu"), layers.Reshape((7, 7, 64)),
                 layers.Conv2DTranspose(32, 4, 2, "same", activation="relu"),
                 layers.Conv2DTranspose(1, 4, 2, "same")]  # fmt: skip
    model = keras.Sequential(stack)
    model.compile(optimizer=keras.optimizers.Adam(RATE), loss="mse")
    begun = time.monotonic()
    model.fit(train, train, batch_size=BATCH, epochs=epochs, verbose=0)
    wall = time.monotonic() - begun
    shape = train.shape[1:]
    return wall, len(train), squared_error_of(
        lambda test: model.predict(test.reshape(-1, *shape), batch_size=1000, verbose=0))  # fmt: skip


def pyod(train: np.ndarray, epochs: int, variational: bool, width: int = WIDTH) -> Fitted:
    from pyod.models.auto_encoder import AutoEncoder
    from pyod.models.vae import VAE

    given = {"preprocessing": False, "lr": RATE, "epoch_num": epochs, "batch_size": BATCH, "batch_norm": False,
             "hidden_activation_name": "relu", "dropout_rate": 0.0, "verbose": 0, "random_state": 0}  # fmt: skip
    if variational:
        model = VAE(encoder_neuron_list=[WIDTH], decoder_neuron_list=[WIDTH], latent_dim=LATENTS,
                    output_activation_name="sigmoid", **given)  # fmt: skip
    else:
        model = AutoEncoder(hidden_neuron_list=[width, LATENTS], **given)
    begun = time.monotonic()
    model.fit(train)
    wall = time.monotonic() - begun

    def squared_error(test: np.ndarray) -> float:
        import torch

        model.model.eval()
        with torch.no_grad():
            output = model.model(torch.from_numpy(test))
        return float(np.square(test - output.numpy()).sum(1).mean())

    return wall, len(train), None if variational else squared_error


def scikit_learn(train: np.ndarray, epochs: int, width: int = WIDTH) -> Fitted:
    from sklearn.neural_network import MLPRegressor

    model = MLPRegressor(hidden_layer_sizes=(width, LATENTS, width), batch_size=BATCH, learning_rate_init=RATE,
                         max_iter=epochs, n_iter_no_change=10**6, random_state=0)  # fmt: skip
    begun = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged, which was not asked
        model.fit(train, train)
    wall = time.monotonic() - begun
    return wall, len(train), lambda test: float(np.square(test - model.predict(test)).sum(1).mean())


CONTENDERS: dict[str, Callable[..., Fitted]] = {
    "isthmus": isthmus,
    "isthmus autoencoder": isthmus_autoencoder,
    "plain PyTorch loop": plain_loop,
    "Pythae": pythae,
    "pyautoencoder": pyautoencoder,
    "autoencoders": autoencoders,
    "Keras on JAX": lambda *given: keras(*given, backend="jax"),
    "Keras on torch": lambda *given: keras(*given, backend="torch"),
    "PyOD VAE": lambda *given: pyod(*given, variational=True),
    "PyOD AutoEncoder": lambda *given: pyod(*given, variational=False),
    "scikit-learn MLPRegressor": scikit_learn,
    "isthmus conv": lambda *given, **more: isthmus_layers(*given, job="conv", **more),
    "plain PyTorch loop conv": lambda *given: plain_layers(*given, job="conv"),
    "Keras on JAX conv": lambda *given: keras_layers(*given, job="conv"),
    "isthmus numbers": lambda *given, **more: isthmus_layers(*given, job="numbers", **more),
    "plain PyTorch loop numbers": lambda *given: plain_layers(*given, job="numbers"),
    "Keras on JAX numbers": lambda *given: keras_layers(*given, job="numbers"),
    "PyOD AutoEncoder numbers": lambda *given: pyod(*given, variational=False, width=NARROW),
    "scikit-learn MLPRegressor numbers": lambda *given: scikit_learn(*given, width=NARROW),
}


def peak() -> float:
    """MiB of memory that this process has had at most. (getrusage would count what started it.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Train, and print what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("data", type=Path, help=".npz with train and test, float32 (n, d) or uint8 images")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--settings", default="{}", help="of ours, as JSON")
    parser.add_argument("--curve", action="store_true", help="of Pythae: the test figure after every pass")
    given = parser.parse_args()
    with np.load(given.data, allow_pickle=False) as arrays:
        train, test = arrays["train"], arrays["test"]
    at_rest = peak()
    before = resource.getrusage(resource.RUSAGE_SELF)
    settings = json.loads(given.settings) | ({"test": test} if given.curve else {})
    wall, items, figure = CONTENDERS[given.name](train, given.epochs, **settings)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = {"wall": wall, "cpu": cpu, "items": items, "peak_mib": peak() - at_rest,
             "figure": figure(test) if figure else None, "curve": CURVE}  # fmt: skip
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
