"""`ckptd demo`: a small training and its ckptd side by side."""

from ckptd.demo.stage import play

__all__ = ["play"]
