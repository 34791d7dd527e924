"""config.example.toml: every key, explained, with its default. It configures nothing itself.

python -m ckptd.config.example > config.example.toml
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import fill, indent
from typing import Final

from ckptd.config.entries import Key, Table
from ckptd.config.keys import TABLES
from ckptd.config.writing import toml_value

HEAD: Final = """\
# The configuration of ckptd: every key, with its default as a commented value.
#
# /etc/ckptd/ckptd.toml is read by a service of root, ~/.config/ckptd/ckptd.toml by a user's own,
# any file with --config FILE. As it stands this file changes nothing. Take the # away in front of
# what you want to change; values that end in "# example" are not the default.
#
# The files of conf.d/*.toml beside it are read too, in the order of their names. A later one wins
# over those before it, key by key. A .ckptd.toml in a directory of experiments wins over all of
# them, for the runs at or below it, and may hold what stands below [policy] here; the command
# line wins over everything. `ckptd config` shows each value with the file and line it comes from.
#
# Sizes: KiB MiB GiB TiB (or kB MB GB TB). Durations: s min h d w month y. Both in quotes.
# A mistake anywhere is an error (exit status 2): nothing is done with half a configuration. A
# running ckptd takes changes up by itself; after a mistake it goes on with what held before.
"""
WIDTH: Final = 98
MARK: Final = "# example"
_WATCH: Final = "#[[watch]]"


def example(watches: Sequence[str] = ()) -> str:
    """The text of config.example.toml; with *watches* (absolute paths) it has them watched."""
    text = HEAD + "".join("\n" + "\n".join(_table(table)) + "\n" for table in TABLES)
    watched = "".join(f"[[watch]]\npath = {toml_value(path)}\n\n" for path in watches)
    return text.replace(_WATCH, watched + _WATCH, 1)


def _table(table: Table) -> Iterator[str]:
    if table.title:
        yield f"# --- {table.title} ".ljust(90, "-")
        yield _comment(table.about)
        yield ""
        yield _marked(f"#[[{table.name}]]") if table.listed else f"[{table.name}]"
    for at, key in enumerate(table.keys):
        if at and key.about:
            yield ""
        yield from _key(key)
    if table.more:
        yield f"\n{table.more.rstrip()}"


def _key(key: Key) -> Iterator[str]:
    if key.about:
        yield _comment(key.about)
    shown = key.default if key.example is None else key.example
    line = f"#{key.name} = {toml_value(shown)}"
    yield line if key.example is None else _marked(line)


def _comment(text: str) -> str:
    """*text* as comments, each line of it wrapped by itself."""
    return "\n".join(indent(wrapped, "# ") for wrapped in map(_wrapped, text.splitlines()))


def _wrapped(line: str) -> str:
    return fill(line, WIDTH - 2, break_on_hyphens=False, break_long_words=False)


def _marked(line: str) -> str:
    return f"{line:<33} {MARK}"


if __name__ == "__main__":
    print(example(), end="")
