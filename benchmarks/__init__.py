"""The figures that the documentation quotes. ``python -m benchmarks`` runs them all; names choose some of them."""
