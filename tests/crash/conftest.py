"""These run when they are asked for, and tell at their end how many stops they tried."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from asked import mark

HERE = Path(__file__).parent
TRIED: defaultdict[str, Counter[str]] = defaultdict(Counter)


def pytest_collection_modifyitems(config, items):
    mark(config, items, HERE)


@pytest.fixture
def stops():
    """How many stops were tried, by their kind and by the act that they were in."""
    return TRIED


def pytest_terminal_summary(terminalreporter):
    for kind, tried in TRIED.items():
        told = ", ".join(f"{act} {count}" for act, count in tried.items())
        terminalreporter.write_line(f"stops by {kind}: {tried.total()} ({told})")
