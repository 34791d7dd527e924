"""One box for all tests here, and only when they are asked for."""

from pathlib import Path

import pytest
from asked import mark
from box import booted, lacking
from installation import installed_in
from laboratory import Lab, Person

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config, items):
    """A run of all tests goes without a second systemd."""
    ours, asked = mark(config, items, HERE)
    why = lacking() if asked else None
    for item in ours:
        item.add_marker(pytest.mark.timeout(300))
        if why:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def box(tmp_path_factory):
    with booted(tmp_path_factory.mktemp("box")) as box:
        yield box


@pytest.fixture(scope="session")
def program(box):
    """A ckptd that is installed in the box as on any machine."""
    return installed_in(box)


@pytest.fixture
def lab(box, program):
    """A run, and ckptd's service that is to look after it."""
    lab = Lab(box, program)
    try:
        lab.begin()
        yield lab
    finally:
        lab.remove()


@pytest.fixture(scope="session")
def alice(box, program):
    return Person(box, "alice", 2001)


@pytest.fixture(scope="session")
def bob(box, program):
    return Person(box, "bob", 2002)
