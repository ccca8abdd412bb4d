"""Image metrics on magnitudes: psnr, ssim, nmse."""

from .image import nmse, psnr, ssim

__all__ = ["nmse", "psnr", "ssim"]
