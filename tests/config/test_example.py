"""config.example.toml: as it stands it changes nothing, and it shows every key as it is."""

import re
from pathlib import Path

from documents import VALUE, uncommented

from ckptd.config import Settings, Watch, load
from ckptd.config.example import example
from ckptd.config.keys import TABLES
from ckptd.config.lines import lines_of
from ckptd.policy import Policies

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


def test_the_file_is_what_the_keys_say():
    again = "python -m ckptd.config.example > config.example.toml"
    assert EXAMPLE.read_text() == example(), again


def test_no_line_of_it_needs_a_wide_window():
    assert max(map(len, example().splitlines())) <= 100


def test_the_example_as_it_stands_changes_nothing():
    assert load(str(EXAMPLE), {}, []).policies == Policies()


def test_the_defaults_that_the_example_shows_are_the_real_ones(loaded):
    text, table, later = uncommented(examples=False).partition("[policy]\n")
    watch = "\n".join(re.findall(r"(?m)^(?:events|drop_ins|adopt|mixed_owners) = .*$", text))
    rest = re.sub(r"(?m)^(?:events|drop_ins|adopt|mixed_owners) = .*$", "", text) + table + later

    settings = loaded(f"{rest}\n[[watch]]\npath = '/x'\n{watch}")

    assert settings == Settings(Policies(), (Watch("/x"),), source=settings.source)


def test_the_example_shows_every_key_and_all_of_it_is_valid(loaded):
    text = uncommented(examples=True)
    shown = {tuple(step for step in place if isinstance(step, str)) for place in lines_of(text)}
    known = {(*table.place, key.name) for table in TABLES for key in table.keys}

    settings = loaded(text)

    assert known <= shown
    assert settings.watches == (Watch("/data/experiments", capacity=200 * 2**30),)
    assert set(settings.policies.by_filesystem) == {"/scratch"}


def test_each_value_of_the_example_is_valid_alone(loaded):
    table = ""
    of_policy = {}
    for line in EXAMPLE.read_text().splitlines():
        if line.lstrip("#").startswith("["):
            table = line.lstrip("#")
        elif VALUE.match(line):
            path = "" if "watch" not in table or line.startswith("#path") else "path = '/x'\n"
            if table == "[policy]":
                of_policy[line.split(" = ")[0]] = line[1:]
            pressed = of_policy[line.split(" = ")[0]] if "pressure" in table else ""
            marks = "hard = '99%'\n" if line.startswith("#high") and "scratch" in table else ""
            before = f"[policy]\n{pressed}\n" if pressed else ""
            loaded(f"{before}{table}\n{path}{marks}{line[1:]}")
