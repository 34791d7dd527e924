"""All files of a service, and the commands that make systemd and journald aware of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ckptd import config
from ckptd.config.example import example
from ckptd.errors import ActionError, ConfigError
from ckptd.install import program
from ckptd.install.files import Did, Done, Wanted, clear, put, take
from ckptd.install.packaged import fitted, packaged
from ckptd.install.scope import UNIT, Scope, run
from ckptd.units import show_text


@dataclass(slots=True)
class Report:
    """What was done, or (`dry`) would be.

    `commands` come with why they failed, or "". `remarks` are sentences, of them `amiss` those
    that need a person. `next` is what to do now, or "".
    """

    dry: bool
    files: list[Done] = field(default_factory=list)
    commands: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    amiss: list[str] = field(default_factory=list)
    next: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether everything is as was wanted."""
        failed = any(why for _, why in self.commands)
        return not (failed or self.amiss or any(done.amiss for done in self.files))

    def did(self, what: Did, place: str = "/") -> list[str]:
        """The paths below *place* that this was done with."""
        below = f"{place.rstrip('/')}/"
        return [f.path for f in self.files if f.did == what and f.path.startswith(below)]

    def run(self, *command: str) -> None:
        """Runs it, or notes that it would be."""
        why = ""
        if not self.dry:
            try:
                run(command)
            except ActionError as error:
                why = str(error)
        self.commands.append((" ".join(command), why))


def install(scope: Scope, watches: Sequence[str], parts: Sequence[str], *, dry: bool) -> Report:
    """Puts every file of the service *scope* in place.

    *watches* are absolute paths for a new configuration; *parts* name settings that not everybody
    wants (`network`, `quotas`). Raises RefusedError where the program must not be run so,
    CkptdError without a systemd.
    """
    version = scope.version()
    command = program.command(user=scope.user)
    report = Report(dry)
    for wanted in _wanted(scope, watches, parts, command, version):
        report.files.append(put(wanted, dry=dry))
    report.remarks += scope.remarks()
    _make_known(scope, report, "wrote")
    _say_next(scope, report, watches)
    return report


def uninstall(scope: Scope, *, dry: bool) -> Report:
    """Ends the service, and takes away what was installed and is unchanged. Raises as `install`."""
    version = scope.version()
    report = Report(dry)
    paths = [wanted.path for wanted in _wanted(scope, (), _parts(scope), (), version)]
    # It is ended as long as there is a unit to end it by.
    going = Report(dry=True, files=[done for path in paths if (done := take(path, dry=True))])
    if units := _startable(going.did("removed", scope.units)):
        report.run(*scope.systemctl, "disable", "--now", *units)
    report.files += [done for path in paths if (done := take(path, dry=dry))]
    if not dry:
        clear([_drop_ins(scope), os.path.dirname(scope.configuration)])
    _make_known(scope, report, "removed")
    report.remarks.append("The history, and what lies in the trash, stay where they are.")
    return report


def _make_known(scope: Scope, report: Report, did: Did) -> None:
    """What systemd and journald have read once, they go by."""
    if report.did(did, scope.units):
        report.run(*scope.systemctl, "daemon-reload")
    if scope.catalogs and report.did(did, scope.catalogs):
        report.run("journalctl", "--update-catalog")


# --- what there is to install ------------------------------------------------------------------


def _wanted(
    scope: Scope,
    watches: Sequence[str],
    parts: Sequence[str],
    command: Sequence[str],
    version: int,
) -> Iterator[Wanted]:
    for name, text in packaged(scope.packaged, ".service", ".timer"):
        yield Wanted(os.path.join(scope.units, name), fitted(text, command, version))
    for name, text in packaged("with", ".conf"):
        path = os.path.join(_drop_ins(scope), name)
        # What was asked for once stays so.
        if name.removesuffix(".conf") in parts or os.path.lexists(path):
            yield Wanted(path, text)
    yield Wanted(scope.configuration, example(watches), theirs=True)
    if scope.catalogs:
        for name, text in packaged("", ".catalog"):
            yield Wanted(os.path.join(scope.catalogs, name), text)


def _parts(scope: Scope) -> list[str]:
    """All parts that may have been installed; a user's own service has none."""
    return [] if scope.user else [name.removesuffix(".conf") for name, _ in packaged("with", "")]


def _drop_ins(scope: Scope) -> str:
    return os.path.join(scope.units, f"{UNIT}.d")


def _startable(paths: Sequence[str]) -> list[str]:
    """The units among *paths* that people enable: a service with a timer is started by that."""
    names = [os.path.basename(path) for path in paths]
    timed = {name.replace(".timer", ".service") for name in names if name.endswith(".timer")}
    return [name for name in names if name.endswith((".service", ".timer")) and name not in timed]


# --- what to do then -----------------------------------------------------------------------------


def _say_next(scope: Scope, report: Report, watches: Sequence[str]) -> None:
    path, words = show_text(scope.configuration), " ".join(scope.systemctl)
    report.next = f"{words} enable --now ckptd"
    if scope.is_active(UNIT):
        report.next = f"{words} restart ckptd" if report.did("wrote", scope.units) else ""
    if scope.configuration in report.did("wrote"):
        watched = {*watches}
    else:
        try:
            watched = {watch.path for watch in config.load(scope.configuration, {}, []).watches}
        except ConfigError as error:
            report.amiss.append(str(error))
            report.next = f"mend {path}, then {report.next}"
            return
    if others := sorted({*watches} - watched):
        names = ", ".join(map(show_text, others))
        report.amiss.append(f"{path} is yours, so {names} is not added: give it a [[watch]] there")
    if not watched:
        report.next = f"name what to watch in {path} ([[watch]] and path), then {report.next}"
