"""Makes test/known/layers.json: what PyTorch computes for every layer that the page knows, on small numbers.

Run from the root of the project: .venv/bin/python web/dev/known.py
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

generator = torch.Generator().manual_seed(0)
cases = []


def drawn(*shape):
    """Numbers of few digits, so that the file stays small."""
    return torch.randn(*shape, generator=generator).mul(8).round().div(8)


def numbers(tensor):
    """For JSON."""
    return [float(f"{value:.7g}") for value in np.asarray(tensor, dtype=np.float64).ravel().tolist()]


def case(name, layers, weights, x, wanted):
    """One case: layers, what they are given, and what PyTorch makes of it."""
    flat = torch.cat([w.reshape(-1) for w in weights]) if weights else torch.zeros(0)
    cases.append({"name": name, "layers": layers, "weights": numbers(flat), "x": numbers(x), "wanted": numbers(wanted)})


x, w, b = drawn(5), drawn(7, 5), drawn(7)
case("linear", [{"op": "linear", "in": 5, "out": 7, "weight": 0, "bias": 35}], [w, b], x, F.linear(x, w, b))
case("linear without bias", [{"op": "linear", "in": 5, "out": 7, "weight": 0, "bias": None}], [w], x, F.linear(x, w))
line = torch.linspace(-6, 6, 25)
for word, function in {"silu": F.silu, "relu": F.relu, "gelu": F.gelu, "tanh": torch.tanh, "sigmoid": torch.sigmoid,
                       "softplus": F.softplus}.items():  # fmt: skip
    case(word, [{"op": word}], [], line, function(line.double()))
case("step", [{"op": "step"}], [], line, (line >= 0).float())
x = drawn(7)
w1, w2 = drawn(7, 7), drawn(7, 7)
body = [{"op": "silu"}, {"op": "linear", "in": 7, "out": 7, "weight": 0, "bias": None}, {"op": "silu"},
        {"op": "linear", "in": 7, "out": 7, "weight": 49, "bias": None}]  # fmt: skip
case("residual", [{"op": "residual", "body": body}], [w1, w2], x, x + F.linear(F.silu(F.linear(F.silu(x), w1)), w2))
for height, width, ins, outs in ((4, 5, 3, 6), (1, 1, 2, 3), (3, 2, 1, 4)):
    x, w, b = drawn(1, ins, height, width), drawn(outs, ins, 3, 3), drawn(outs)
    layer = {
        "op": "conv",
        "sides": [height, width],
        "kernel": 3,
        "in": ins,
        "out": outs,
        "weight": 0,
        "bias": w.numel(),
    }
    case(f"conv {height} x {width}", [layer], [w.permute(2, 3, 1, 0), b], x[0].permute(1, 2, 0),
         F.conv2d(x, w, b, padding=1)[0].permute(1, 2, 0))  # fmt: skip
x, w, b = drawn(1, 3, 6), drawn(4, 3, 3), drawn(4)
layer = {"op": "conv", "sides": [6], "kernel": 3, "in": 3, "out": 4, "weight": 0, "bias": w.numel()}
case("conv of a series", [layer], [w.permute(2, 1, 0), b], x[0].T, F.conv1d(x, w, b, padding=1)[0].T)
x = drawn(1, 2 * 9, 2, 3)
shuffled = F.pixel_shuffle(x, 3)[0, :, :5, :7]
layer = {"op": "unshuffle_out", "patch": 3, "grid": [2, 3], "sides": [5, 7], "planes": 2}
case("unshuffle_out", [layer], [], x[0].permute(1, 2, 0), shuffled)
x = drawn(1, 2 * 4, 3)
joined = x.unflatten(1, (-1, 4)).transpose(2, 3).flatten(2)[0, :, :10]
layer = {"op": "unshuffle_out", "patch": 4, "grid": [3], "sides": [10], "planes": 2}
case("unshuffle_out of a series", [layer], [], x[0].T, joined)
x = drawn(12)
case("slice", [{"op": "slice", "from": 3, "to": 8}], [], x, x[3:8])
case("affine", [{"op": "affine", "scale": 2.5, "shift": -1.0}], [], x, x * 2.5 - 1)
scales, shifts = [2.0, 0.5, 3.0], [1.7e12, -1.0, 0.25]
each = [torch.tensor(some, dtype=torch.float64).repeat_interleave(4) for some in (scales, shifts)]
layer = {"op": "affine", "scales": scales, "shifts": shifts, "each": 4}
apart = (x.double() * each[0] + each[1]).tolist()
cases.append(
    {"name": "affine of parts, in float64", "layers": [layer], "weights": [], "x": numbers(x), "wanted": apart}
)
case("clip", [{"op": "clip", "low": -0.5, "high": 1}], [], x, x.clamp(-0.5, 1))
held = x.clone()
held[[1, 4]] = held[[1, 4]].clamp(0, 0)
case("clip of some", [{"op": "clip", "low": 0, "high": 0, "at": [1, 4]}], [], x, held)
halves = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49, 0.51])
case("round", [{"op": "round"}], [], halves, halves.round())
mixed = halves.clone()
mixed[[0, 3]] = mixed[[0, 3]].round()
case("round of some", [{"op": "round", "at": [0, 3]}], [], halves, mixed)
x = drawn(4, 6)
case("argmax", [{"op": "argmax", "levels": 4, "size": 6}], [], x, torch.from_numpy(x.numpy().argmax(0)).float())
path = Path(__file__).parents[1] / "test" / "known" / "layers.json"
path.write_text("[\n" + ",\n".join(json.dumps(one) for one in cases) + "\n]\n")
