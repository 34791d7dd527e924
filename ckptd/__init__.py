"""ckptd keeps checkpoints from filling the disk while models are trained."""

__version__ = "0.1.0"
