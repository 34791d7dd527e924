"""What the texts of a command line mean."""

from __future__ import annotations

from collections.abc import Mapping

from ckptd.config.lines import place_of
from ckptd.config.options import OPTIONS, Option
from ckptd.config.sources import COMMAND_LINE, Origin, Said, Source
from ckptd.config.values import WrongError
from ckptd.errors import Problem

Texts = Mapping[str, str | list[str]]


def of_options(texts: Texts) -> Source:
    """The Source that *texts*, by `Option.key`, make; without any of them it is empty."""
    given = [option for option in OPTIONS if option.key in texts]
    read = [(option, _read(option, texts[option.key])) for option in given]
    values = {place_of(option.key): got for option, got in read if isinstance(got, Said)}
    problems = tuple(got for _, got in read if isinstance(got, Problem))
    return Source((COMMAND_LINE,) if given else (), values, problems)


def _read(option: Option, text: str | list[str]) -> Said | Problem:
    where = f"--{option.name}"
    try:
        written = option.kind.of_text(text) if isinstance(text, str) else text
        return Said(option.kind.read(written), written, Origin(COMMAND_LINE, where))
    except ValueError as error:
        wrong = WrongError.of(error)
        return Problem(where, wrong.text, wrong.remedy)
