"""Sums JUnit reports: `N passed, N failed, N skipped`.

With --may-skip it also judges: exit 1 when nothing ran, or when a test skipped for a reason
that the pattern does not match. Root gets no excuse: what needs root must have run.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from xml.etree import ElementTree as ET

# What nobody can do as root, and what says on purpose that it is not expected to pass.
ROOT_CANNOT = r"root may read everything.*|.*pytest\.xfail.*"
NEEDS_ROOT = r".*(needs? root|needs a second user|several users|lose root's rights|root's to set).*"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--may-skip", metavar="PATTERN")
    parser.add_argument("reports", nargs="+")
    options = parser.parse_args()
    cases = [case for path in options.reports for case in ET.parse(path).iter("testcase")]  # noqa: S314  our own reports
    failed = sum(any(case.find(tag) is not None for tag in ("failure", "error")) for case in cases)
    skipped = sum(case.find("skipped") is not None for case in cases)
    passed = len(cases) - failed - skipped
    if options.may_skip is None:
        print(f"{passed} passed, {failed} failed, {skipped} skipped")
        return 0
    excuses = [options.may_skip, ROOT_CANNOT, *([NEEDS_ROOT] if os.geteuid() else [])]
    unexcused = list(without_excuse(cases, [text for text in excuses if text]))
    for line in unexcused:
        print(f"must not skip: {line}", file=sys.stderr)
    if not passed:
        print("no test ran", file=sys.stderr)
    return int(bool(unexcused) or not passed)


def without_excuse(cases: list[ET.Element], excuses: list[str]) -> Iterator[str]:
    for case in cases:
        skip = case.find("skipped")
        if skip is None:
            continue
        why = f"{skip.get('type')} {skip.get('message')}"
        texts = (why, str(skip.get("message")))
        if not any(re.fullmatch(excuse, text) for excuse in excuses for text in texts):
            yield f"{case.get('classname')}::{case.get('name')}: {skip.get('message')}"


if __name__ == "__main__":
    sys.exit(main())
