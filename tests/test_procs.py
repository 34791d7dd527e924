import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest

from ckptd import procs
from ckptd.model import Use

ROOT = os.geteuid() == 0
ALICE = 1500
READY = "print(flush=True); import sys; sys.stdin.read()"


@contextmanager
def process(*arguments, code="", cwd=None, program=(sys.executable, "-S", "-c"), **more):
    """A live Python that ran *code*; it is found by its pid, and ends with the block."""
    child = subprocess.Popen(
        [*program, "import mmap, os; " + code + "\n" + READY, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=cwd,
        **more,
    )
    try:
        assert child.stdout.readline() == b"\n"
        yield child.pid
    finally:
        child.communicate()


@pytest.fixture
def run(tmp_path):
    save = tmp_path / "out" / "checkpoint-5"
    save.mkdir(parents=True)
    (save / "model.safetensors").write_bytes(b"x" * 8192)
    (tmp_path / "out" / "checkpoint-50").mkdir()
    return tmp_path / "out"


def uses(path, *pids, ignore=()):
    """How *pids* use *path*: the rest of this machine is not the test's."""
    return [(u.how, u.pid) for u in procs.look(ignore=ignore).uses(str(path)) if u.pid in pids]


def test_an_open_file_is_a_use_of_its_checkpoint_and_its_run(run):
    file = run / "checkpoint-5" / "model.safetensors"
    with process(code=f"f = open({str(file)!r})", cwd="/") as pid:
        for path in (file, file.parent, run):
            assert ("open", pid) in uses(path, pid)
        assert uses(run / "checkpoint-50", pid) == []


def test_a_neighbour_with_a_longer_name_is_no_use(run):
    (run / "checkpoint-5.old").mkdir()
    with process(str(run / "checkpoint-5.old"), str(run / "checkpoint-50" / "x"), cwd="/") as pid:
        assert uses(run / "checkpoint-5", pid) == []
        assert uses(run / "checkpoint-50", pid) == [("named", pid)]


def test_a_mapped_file_whose_descriptor_is_closed_is_a_use(run):
    file = run / "checkpoint-5" / "model.safetensors"
    # By the C library: Python's own mmap keeps a descriptor.
    code = (
        f"import ctypes; fd = os.open({str(file)!r}, 0); "
        "ctypes.CDLL(None).mmap(None, 8192, 1, 2, fd, 0); os.close(fd)"
    )
    with process(code=code, cwd="/") as pid:
        assert ("mapped", pid) in uses(run / "checkpoint-5", pid)
        snapshot = procs.look()
        assert Use("mapped", pid, os.path.basename(sys.executable)) in snapshot.uses(str(run))
        unmapped = snapshot.uses(str(run), mapped=False)
        assert not [u for u in unmapped if (u.how, u.pid) == ("mapped", pid)]


def test_a_working_directory_is_a_use(run):
    with process(cwd=run / "checkpoint-5") as pid:
        assert ("cwd", pid) in uses(run / "checkpoint-5", pid)
        assert ("cwd", pid) in uses(run, pid)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--output_dir", "out"], id="relative"),
        pytest.param(["--output_dir=out"], id="after-equals"),
        pytest.param(["trainer.output_dir=./out/"], id="hydra"),
        pytest.param(["--set", "args=output_dir=out"], id="last-equals"),
        pytest.param(["--resume", "x/../out/checkpoint-5"], id="checkpoint-and-dots"),
        pytest.param(["--output_dir={}"], id="absolute"),
        pytest.param(["--output_dir=/{}"], id="two-slashes"),
        pytest.param(["link"], id="link"),
        pytest.param(["parent/out/checkpoint-5"], id="link-above"),
    ],
)
def test_a_command_line_names_the_run(run, arguments):
    (run.parent / "link").symlink_to(run)
    (run.parent / "parent").symlink_to(".")
    given = [argument.format(run) for argument in arguments]
    with process(*given, cwd=run.parent) as pid:
        assert uses(run, pid) == [("named", pid)]
        named = any("checkpoint-5" in argument for argument in given)
        assert uses(run / "checkpoint-5", pid) == [("named", pid)] * named


def test_hostile_command_lines_name_nothing(run):
    given = ["=" * 5000, "", "-", "=", "x" * 100_000, os.fsdecode(b"\xff\xfe"), "../" * 2000]
    with process(*given, cwd=run.parent) as pid:
        assert uses(run, pid) == []


@contextmanager
def zombie():
    """The pid of a process that has ended and was not waited for: links of it lead nowhere."""
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    try:
        yield child.pid
    finally:
        child.wait()


@pytest.mark.parametrize("argument", ["{link}", "{link}/", "{link}/x", "x/../{link}/../{link}"])
def test_a_link_that_cannot_be_read_hides_nobody(run, argument):
    """There when it was looked at and gone, or not to be read, a moment later."""
    with zombie() as dead:
        link = f"/proc/{dead}/exe"
        assert os.path.islink(link)
        with pytest.raises(OSError, match="No such file"):
            os.readlink(link)
        (run.parent / "link").symlink_to(link)
        given = [argument.format(link=named) for named in (link, "link")]
        with process(*given, "out/checkpoint-5", cwd=run.parent) as pid:
            assert uses(run / "checkpoint-5", pid) == [("named", pid)]
            assert ("named", pid) in uses(run.parent / "link", pid)


def test_links_that_lead_on_for_ever_hide_nobody(run):
    chain = run.parent / "chain"
    chain.mkdir()
    for number in range(sys.getrecursionlimit() + 10):
        (chain / f"{number}").symlink_to(f"{number + 1}")
    (run.parent / "loop").symlink_to("loop")
    with process("chain/0/x", "loop/x", "out/checkpoint-5", cwd=run.parent) as pid:
        assert uses(run / "checkpoint-5", pid) == [("named", pid)]


def test_a_link_that_becomes_a_directory_meanwhile_hides_nobody(run):
    """A trainer swaps `latest` while it is looked at."""
    swap = (
        "import os, sys, threading\n"
        "def swap():\n"
        "    while True:\n"
        "        os.symlink('out', 'made'); os.replace('made', 'latest')\n"
        "        os.unlink('latest'); os.mkdir('latest'); os.rmdir('latest')\n"
        "threading.Thread(target=swap, daemon=True).start()\n"
    )
    named = [f"latest/{number}/x" for number in range(1000)]
    with process(*named, "out/checkpoint-5", code=swap, cwd=run.parent) as pid:
        for _ in range(20):
            assert ("named", pid) in uses(run / "checkpoint-5", pid)


def test_names_that_are_no_utf8_or_have_a_newline_are_found(run):
    strange = run / os.fsdecode(b"checkpoint-\xff\n7")
    strange.mkdir()
    file = strange / "model.safetensors"
    file.write_bytes(b"x" * 8192)
    code = f"fd = os.open({str(file)!r}, 0); m = mmap.mmap(fd, 0, prot=1)"
    with process(f"--resume={strange}", code=code, cwd="/") as pid:
        assert [how for how, _ in uses(strange, pid)] == ["open", "mapped", "named"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["ckptd", "apply", "{}"],
        ["--signal=9", "/venv/bin/ckptd", "exec", "{}", "--", "python"],
        ["-m", "ckptd", "watch", "{}"],
    ],
)
def test_another_ckptd_and_what_starts_it_use_nothing(run, arguments):
    with process(*(argument.format(run) for argument in arguments), cwd=run) as pid:
        assert uses(run, pid) == []


@pytest.mark.parametrize("arguments", [["--output_dir", "ckptd"], ["--name=ckptd", "ckptd"]])
def test_a_training_whose_output_is_called_ckptd_counts(tmp_path, arguments):
    (tmp_path / "ckptd").mkdir()
    with process(*arguments, "--lr", "1", cwd=tmp_path) as pid:
        assert uses(tmp_path / "ckptd", pid) == [("named", pid)]


def test_this_process_uses_nothing(run):
    with open(run / "checkpoint-5" / "model.safetensors", "rb"):
        assert uses(run, os.getpid()) == []


def test_a_launcher_names_nothing_but_what_it_has_open_counts(run):
    file = run / "checkpoint-5" / "model.safetensors"
    with process(str(run), code=f"f = open({str(file)!r})", cwd=run) as pid:
        assert uses(run, pid, ignore={pid}) == [("open", pid)]


def test_what_we_inherited_from_a_launcher_is_no_use(run):
    log = run / "train.log"
    with open(log, "wb") as ours, process(stderr=ours, cwd="/") as pid:
        assert uses(log, pid) == [("open", pid)]
        assert uses(log, pid, ignore={pid}) == []


def test_a_zombie_and_the_kernel_use_nothing(run):
    child = subprocess.Popen([sys.executable, "-S", "-c", "", str(run)], cwd=run)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert uses(run, child.pid) == []
    assert child.pid not in procs.look().blind
    child.wait()


def test_a_command_from_others_never_steers_a_terminal(run):
    program = [sys.executable, "-S", "-c"]
    code = f"os.execv(sys.executable, ['\\x1b[31mevil\\n', '-S', '-c', {READY!r}, {str(run)!r}])"
    child = subprocess.Popen(
        [*program, f"import os, sys; {code}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    child.stdout.readline()
    shown = [use.command for use in procs.look().uses(str(run)) if use.pid == child.pid]
    child.communicate()
    assert shown == [r"\x1b[31mevil\n"]


@pytest.mark.root
@pytest.mark.skipif(not ROOT or not shutil.which("unshare"), reason="namespaces need root")
def test_a_container_that_sees_the_run_under_another_path_uses_it(run):
    inside = run.parent / "inside"
    inside.mkdir()
    script = f'mount --bind {run} {inside} && exec "$@"'
    wrapped = ("unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-S", "-c")
    code = f"f = open('{inside}/checkpoint-5/model.safetensors')"
    with process("--resume", f"{inside}/checkpoint-5", code=code, program=wrapped) as pid:
        assert uses(run / "checkpoint-5", pid) == [("open", pid), ("named", pid)]
        assert uses(run, pid) == [("open", pid), ("named", pid)]
        assert uses(run / "checkpoint-50", pid) == []


@pytest.mark.root
@pytest.mark.skipif(not ROOT, reason="needs a second user")
def test_an_unprivileged_look_says_whose_open_files_it_cannot_see(run):
    with process(str(run), cwd=run) as pid:
        answer, told = os.pipe()
        if (child := os.fork()) == 0:
            try:
                os.setgroups([])
                os.setgid(ALICE)
                os.setuid(ALICE)
                snapshot = procs.look()
                seen = [use.how for use in snapshot.uses(str(run)) if use.pid == pid]
                os.write(told, repr((pid in snapshot.blind, 2 in snapshot.blind, seen)).encode())
            finally:
                os._exit(0)  # this copy of pytest ends here
        os.waitpid(child, 0)
        os.close(told)
        with open(answer) as file:
            assert file.read() == "(True, False, ['named'])"


def test_processes_that_end_in_mid_look_are_normal(run):
    loop = "while :; do /bin/true; done"
    with subprocess.Popen(["sh", "-c", loop]) as churn:
        for _ in range(20):
            procs.look().uses(str(run))
        churn.kill()


def test_ancestors_are_found():
    child = subprocess.run(
        [sys.executable, "-c", "from ckptd import procs; print(sorted(procs.ancestors()))"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert {os.getpid(), os.getppid()} <= set(json.loads(child.stdout))
    assert os.getpid() not in procs.ancestors()


def test_giving_way_lowers_the_io_priority_of_its_thread_and_of_those_it_starts():
    program = """
import psutil, threading
from ckptd import procs

def tell():
    print(psutil.Process(threading.get_native_id()).ionice())

def acting():
    procs.give_way()
    tell()
    start(tell)

def start(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

start(acting)
tell()
"""
    acting, started, main = subprocess.check_output(
        [sys.executable, "-c", program], text=True
    ).splitlines()
    assert "IOPRIO_CLASS_BE" in acting
    assert "value=7" in acting
    assert started == acting
    assert "value=7" not in main  # of which COMMAND is a child


def test_a_look_leaves_no_descriptor_open(run):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        procs.look().uses(str(run))
    assert len(os.listdir("/proc/self/fd")) == before


HIDING = """
import ctypes, os
from ckptd import procs
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x20000) == 0  # CLONE_NEWNS
assert libc.mount(b"none", b"/", None, 0x44000, None) == 0  # MS_REC | MS_PRIVATE
assert libc.mount(b"proc", b"/proc", b"proc", 0, b"hidepid=1") == 0, ctypes.get_errno()
os.setgroups([]); os.setgid(65534); os.setuid(65534)
print(os.getppid() in procs.ancestors(), os.getppid() in procs.look().blind)
"""


@pytest.mark.root
@pytest.mark.skipif(not ROOT, reason="needs to mount a /proc that hides")
def test_processes_that_proc_hides_are_blind_spots():
    program = [sys.executable, "-c", HIDING]
    done = subprocess.run(program, check=False, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True True\n", "")
