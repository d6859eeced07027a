"""Images for the benchmarks."""

import torch
import torch.nn.functional as F

__all__ = ["smooth_images"]

BLOCK_IMAGES = 500


def smooth_images(count, size, floats=False, seed=0):
    """Return smooth random images, (n, 3, size, size), uint8 or float32 from 0 to 1."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.empty(count, 3, size, size, dtype=torch.float32 if floats else torch.uint8)
    for part in images.split(BLOCK_IMAGES):
        noise = torch.randn(BLOCK_IMAGES, 3, size // 4, size // 4, generator=generator)
        smooth = F.interpolate(noise, (size, size), mode="bicubic")
        smooth = smooth + 0.1 * torch.randn(smooth.shape, generator=generator)
        values = ((smooth + 3) / 6).clamp(0, 1)[: len(part)]
        part.copy_(values if floats else (values * 255).to(torch.uint8))
    return images
