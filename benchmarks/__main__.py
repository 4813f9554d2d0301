"""``python -m benchmarks [part ...]``; ``--help`` lists the parts."""

from __future__ import annotations

import argparse
import importlib

PARTS = {
    "digits": "three models on the digits that ship with scikit-learn, five seeds (3 minutes)",
    "autoencoder": "MNIST, 30 latents, default settings (5 minutes a seed)",
    "ordered": "MNIST, one fit with ordered latents against a network for each k (25 minutes)",
    "vae": "dynamically binarised MNIST, importance-sampled likelihood (12 minutes)",
    "pca": "PCA against scikit-learn's solvers (3 minutes)",
    "invariance": "codes of one item alone and in batches, to the bit, and what it costs (1 minute)",
    "training": "the same VAE in eleven libraries: seconds a pass, memory (15 minutes; make peers)",
    "gpu": "the same VAE on a GPU: recorded steps, one by one, by hand, Pythae (5 minutes; a GPU, make peers)",
    "training_more": "a convolutional autoencoder and one of a million rows, likewise (26 minutes; make peers)",
    "quality": "time to the quality at which other libraries end, and the curve (20 minutes; make peers)",
    "throughput": "encode and decode against the rate of matrix products (1 minute)",
    "growth": "time and memory against items, dimensions, latents and batch (10 minutes)",
    "startup": "import, help, first step (1 minute)",
    "imputation": "holes in mixed tables, beside scikit-learn's imputers (40 minutes)",
    "downstream": "a classifier on codes of mixed tables, ten seeds (two hours)",
    "denoise": "photographs and digits with noise, and made finer, beside filters (25 minutes; scikit-image)",
    "generate": "MNIST samples from N(0, 1) and from fitted priors, near items and between them (8 minutes)",
    "traverse": "discs of known place and size: disentanglement of four models, three seeds (3 minutes)",
    "search": "200,000 codes of six kinds: recall and speed beside the product and others (6 minutes; make peers)",
    "arithmetic": "words and concepts: sums, directions and what they drag along (2 minutes)",
    "layers": "what each layer of an encoder knows (2 minutes)",
    "label": "MNIST from a hundred labels: spread over near codes, and learned with the model (40 minutes)",
    "compare_codes": "nine formats of codes on digits, tables and words (10 minutes)",
    "larger": "tables ten times the memory that a process may have, and encoding beside reading (30 minutes, 11 GB)",
    "explorer": "the page: start, decode, frames, size of the static file; needs Chromium (5 minutes)",
    "anomalies": "28 tables of ADBench: AUROC and false-discovery rate beside scikit-learn (6 minutes)",
    "streaming": "a set on disk against the same in memory (5 minutes)",
}


def main() -> None:
    """Run the named parts, or all."""
    listing = "\n".join(f"  {name:12} {what}" for name, what in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=f"Parts:\n{listing}", formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="part", help="which to run; all where none is named")
    parser.add_argument("--seeds", type=int, default=1, help="runs with seeds 0, 1, ... of parts that train (1)")
    parser.add_argument("--budget", default=None, help="time to train for, such as 15m, in place of the default")
    given = parser.parse_args()
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    for name in given.parts or PARTS:
        importlib.import_module(f"benchmarks.{name}").run(seeds=given.seeds, budget=given.budget)


main()
