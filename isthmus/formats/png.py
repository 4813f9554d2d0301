"""Pixels as the bytes of a PNG file."""

from __future__ import annotations

import io

import numpy as np

__all__ = ["png_of"]


def png_of(pixels: np.ndarray) -> bytes:
    """A PNG file of pixels (h, w, c) uint8 with c of 1 (grey), 3 (RGB) or 4 (RGBA)."""
    from PIL import Image

    held = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)).save(held, "PNG")
    return held.getvalue()
