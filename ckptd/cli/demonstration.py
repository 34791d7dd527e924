"""`demo`: the first minute with ckptd."""

from __future__ import annotations

import argparse

from ckptd.demo import play


def demo(arguments: argparse.Namespace) -> int:
    """`ckptd demo`: 0 when all went as shown."""
    del arguments
    return play()
