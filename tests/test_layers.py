"""The walls of the house: imports point down, and each dependency has one door."""

import ast
from collections.abc import Iterator
from pathlib import Path

import ckptd

PACKAGE = Path(ckptd.__file__).parent
LAYERS = [
    {"errors", "units", "model"},
    {"policy", "formats", "render", "worldfile", "mounts"},
    {"config", "logs", "beneath", "places", "advice", "simulation"},
    {"scan", "disk", "quota", "procs", "ledger", "trash"},
    {"observe"},
    {"actions", "audit", "status"},
    {"watch"},
    {"notice", "check", "install"},
    {"notify", "prometheus"},
    {"daemon", "demo"},
    {"cli"},
    {"__main__"},
]
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
DOORS = {
    "pydantic": {"config"},
    "structlog": {"logs"},
    "psutil": {"procs", "disk"},
    "watchdog": {"watch"},
    "sdnotify": {"daemon"},
    "sqlite3": {"ledger"},
    "yaml": {"cli"},
    "rich": {"cli"},
    "argcomplete": {"cli"},
    "plotext": {"cli"},
    "apprise": {"notify"},
    "prometheus_client": {"prometheus"},
    "ctypes": {"beneath", "watch", "quota"},
}
PURE = {
    "errors",
    "units",
    "model",
    "policy",
    "formats",
    "render",
    "worldfile",
    "advice",
    "simulation",
}
EFFECTS = {"os", "pathlib", "time", "subprocess", "shutil", "socket", "logging", "threading"}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "ckptd":
                yield from (f"ckptd.{alias.name}" for alias in node.names)
            elif node.module:
                yield node.module


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if room != "__init__":
            yield room, path


def test_every_room_has_a_layer():
    assert {room for room, _ in modules()} <= set(RANK)


def test_imports_point_down():
    complaints = [
        f"{path.name} ({here}) imports {name}"
        for here, path in modules()
        for name in imported(path)
        if name.startswith("ckptd.")
        and (there := name.split(".")[1]) in RANK
        and there != here
        and RANK[there] >= RANK[here]
    ]
    assert complaints == []


def test_each_dependency_has_one_door():
    complaints = [
        f"{path.name} ({here}) imports {name}"
        for here, path in modules()
        for name in imported(path)
        if here not in DOORS.get(name.split(".")[0], {here})
    ]
    assert complaints == []


def test_pure_rooms_touch_no_clock_and_no_disk():
    complaints = [
        f"{path.name} imports {name}"
        for here, path in modules()
        if here in PURE
        for name in imported(path)
        if name.split(".")[0] in EFFECTS
    ]
    assert complaints == []


def test_layer_test_can_fail(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("import os\nfrom ckptd.cli import main\nfrom ckptd import daemon\n")
    assert list(imported(bad)) == ["os", "ckptd.cli", "ckptd.daemon"]
