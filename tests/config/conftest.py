"""A configuration from its text."""

import pytest

from ckptd.config import load


@pytest.fixture
def loaded(tmp_path):
    def load_text(text):
        file = tmp_path / "ckptd.toml"
        file.write_text(text)
        return load(str(file), {}, [])

    return load_text
