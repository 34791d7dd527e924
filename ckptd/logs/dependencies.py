"""What the libraries that ckptd stands on log by themselves, as events like ours."""

from __future__ import annotations

import logging

from ckptd import logs


def listen() -> None:
    """From now on every warning of a library is an event `library`; once is enough."""
    root = logging.getLogger()
    if not any(isinstance(handler, _Handler) for handler in root.handlers):
        root.addHandler(_Handler(logging.WARNING))
    logging.captureWarnings(capture=True)


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except (TypeError, ValueError):  # the library's arguments do not fit its own text
            text = str(record.msg)
        if record.exc_info and record.exc_info[1] is not None:
            text = f"{text}: {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        worse = record.levelno >= logging.ERROR
        text = f"{record.name}: {text}"
        logs.say("error" if worse else "warning", "library", message=text, logger=record.name)
