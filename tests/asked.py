"""Tests that take minutes run when somebody asks for them: by their path, or by their mark."""

from pathlib import Path

import pytest


def mark(config, items, here: Path) -> tuple[list[pytest.Item], bool]:
    """The tests below the directory *here*, marked by its name; whether they were asked for.

    Those that were not are skipped.
    """
    name = here.name
    named = [Path(config.invocation_params.dir, arg.split("::")[0]) for arg in config.args]
    asked = config.option.markexpr == name or any(here in (p, *p.parents) for p in named)
    ours = [item for item in items if here in item.path.parents]
    why = f"runs when asked for: pytest tests/{name}, or -m {name}"
    for item in ours:
        item.add_marker(name)
        if not asked:
            item.add_marker(pytest.mark.skip(reason=why))
    return ours, asked
