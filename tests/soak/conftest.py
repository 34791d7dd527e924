"""The soak runs when it is asked for, and tells at its end what happened in it."""

from pathlib import Path

import pytest
from asked import mark

HERE = Path(__file__).parent
TOLD: list[str] = []


def pytest_collection_modifyitems(config, items):
    mark(config, items, HERE)


@pytest.fixture
def told():
    """Lines to be shown when all is over."""
    return TOLD


def pytest_terminal_summary(terminalreporter):
    for line in TOLD:
        terminalreporter.write_line(line)
