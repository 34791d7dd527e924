"""TAB: what a shell is told, and what real shells make of it on a real terminal."""

import os
import shlex
import shutil
import subprocess
import sys

import pytest
from terminal import CKPTD, Terminal, on_a_terminal

SHELLS = ("bash", "zsh", "fish")
SEPARATOR = {"bash": "\v", "zsh": "\v", "fish": "\n"}


@pytest.fixture
def place(tmp_path):
    place = tmp_path / "place"
    (place / "runs" / "a b").mkdir(parents=True)
    (place / "runs" / "检查点").mkdir()
    (place / ".hidden").mkdir()
    (place / "bad\nname").mkdir()
    (place / "ckptd.toml").touch()
    (place / "train.py").touch()
    return place


def offered(line, place, shell="bash"):
    """What ckptd says may stand at the end of *line*, asked as the code of *shell* asks it."""
    asks = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_SHELL": shell,
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    if shell == "fish":
        asks |= {"_ARGCOMPLETE_DFS": "\t", "_ARGCOMPLETE_IFS": "\n"}
    command = f"exec {shlex.join(CKPTD)} 8>&1 9>&2 >/dev/null"
    ran = subprocess.run(
        ["bash", "-c", command],
        env=os.environ | asks,
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    words = ran.stdout.split(SEPARATOR[shell]) if ran.stdout else []
    aside = {"bash": None, "zsh": ":", "fish": "\t"}[shell]
    return [word.split(aside)[0] if aside else word for word in words]


@pytest.mark.parametrize("shell", SHELLS)
def test_commands_options_values_and_paths_are_offered(place, shell):
    def asked(line):
        return offered(f"ckptd {line}", place, shell)

    assert {"watch", "exec", "plan", "history", "completion", "demo"} <= {*asked("")}
    assert asked("install --with ") == ["network", "quotas"]
    assert asked("pl") == ["plan"]
    assert asked("plan --keep-l") == ["--keep-last"]
    assert asked("plan --mode ") == ["enforce", "observe"]
    assert asked("plan --keep-last ") == ["unlimited"]
    assert asked("history --event set") == ["set_aside"]
    assert asked("completion ") == [*SHELLS]
    assert asked("plan ") == ["runs/"]
    assert asked("plan --keep-last 2 ru") == ["runs/"]
    assert {"ckptd.toml", "runs/"} <= {*asked("plan --config ")}
    assert asked("plan --state ") == ["runs/"]
    assert asked("plan .") == [".hidden/"]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_command_of_others_gets_files_and_none_of_our_options(place, shell):
    assert "train.py" in offered("ckptd exec -- ", place, shell)
    assert offered("ckptd exec --keep-last 2 -- python tr", place, shell) == ["train.py"]
    assert offered("ckptd exec -- python --keep", place, shell) == []
    assert offered("ckptd exec --keep-la", place, shell) == ["--keep-last"]


@pytest.mark.parametrize("shell", SHELLS)
def test_json_is_one_document_with_the_same_code(tmp_path, shell):
    ckptd = Terminal(tmp_path / "state")
    code = ckptd.completion(shell).out.removesuffix("\n")
    document = ckptd.json("completion", shell).document
    assert document == {"version": 1, "shell": shell, "code": code}


def test_no_other_command_imports_argcomplete(tmp_path):
    code = (
        "import sys; from ckptd.cli import main; main(sys.argv[1:]);"
        "sys.exit('argcomplete' in sys.modules)"
    )
    command = [sys.executable, "-c", code, "plan", "--state", str(tmp_path / "s"), str(tmp_path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_variable_that_is_left_over_completes_nothing(tmp_path):
    command = [*CKPTD, "exec", "--state", str(tmp_path), tmp_path, "--", "sh", "-c", "exit 7"]
    environment = os.environ | {"_ARGCOMPLETE": "1"}
    assert subprocess.run(command, env=environment, check=False).returncode == 7


# --- real shells -------------------------------------------------------------------------

READY = "ready>>"
START = {
    "bash": ("bash", "--noprofile", "--rcfile", "{rc}", "-i"),
    "zsh": ("zsh", "-d", "-i"),
    "fish": ("fish", "--no-config", "-i", "-C", "source {rc}"),
}
PROMPT = {
    "bash": f"PS1='{READY}'\n",
    "zsh": f"PS1='{READY}'\nautoload -Uz compinit\ncompinit -u -D\n",
    "fish": f"function fish_prompt; printf '{READY}'; end\n",
}
# What is typed stands on the command line only if TAB completed it; otherwise it is recorded.
OURS = """\
#!/bin/sh
[ -z "$_ARGCOMPLETE" ] || exec {ckptd} "$@"
printf '%s\\n' "$@" >{said}.new
mv {said}.new {said}
"""


@pytest.fixture(params=SHELLS)
def shell(request, tmp_path, place):
    """Types a line into the shell, and returns the arguments that ckptd is then started with."""
    name = request.param
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    said, ours, rc = tmp_path / "said", tmp_path / "bin" / "ckptd", tmp_path / ".zshrc"
    ours.parent.mkdir()
    ours.write_text(OURS.format(ckptd=shlex.join(CKPTD), said=said))
    ours.chmod(0o755)
    rc.write_text(PROMPT[name] + Terminal(tmp_path / "state").completion(name).out)
    environment = {
        "PATH": f"{ours.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "ZDOTDIR": str(tmp_path),
        "TERM": "dumb" if name == "bash" else "xterm",
        "LC_ALL": "C.UTF-8",
    }
    argv = [word.format(rc=rc) for word in START[name]]

    def typed(line):
        said.unlink(missing_ok=True)
        with on_a_terminal(*argv, environment=environment, cwd=place) as (_, screen):
            shown = screen(READY)
            screen.type(f"{line}\r")
            shown += screen(said.exists)
        assert said.exists(), shown
        return said.read_text().splitlines()

    return typed


@pytest.mark.slow
def test_tab_completes_in_a_real_shell(shell):
    assert shell("ckptd adv\truns/a\t") == ["advise", "runs/a b/"]
    assert shell("ckptd plan --mode ob\tru\t检\t") == ["plan", "--mode", "observe", "runs/检查点/"]
    assert shell("ckptd exec -- cat tr\t") == ["exec", "--", "cat", "train.py"]
