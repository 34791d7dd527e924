"""A stand-in for `journalctl`: it shows of what it is asked for what it was given to show."""

from pathlib import Path

_SHOWS = """\
#!/bin/sh
for word; do
    case $word in
    CKPTD_ID=*) grep -qx -e "${word#*=}" '%s' && echo "{\\"CKPTD_ID\\":\\"${word#*=}\\"}" ;;
    esac
done
exit 0
"""
_FAILS = """\
#!/bin/sh
for word; do
    echo "{\\"CKPTD_ID\\":\\"${word#*=}\\"}"
done
exit 1
"""
_HANGS = "#!/bin/sh\necho $$ >'%s'\nexec sleep 60\n"
_BABBLES = "#!/bin/sh\necho '[]'\n"


class Journalctl:
    """One in the directory *place*, beside the tools that it needs; it shows nothing yet."""

    def __init__(self, place: Path) -> None:
        self.path = place / "journalctl"
        self.shown = place / "shown"
        self.shown.touch()
        self._write(_SHOWS % self.shown)

    def show(self, idents) -> None:
        """From now on it shows these, too."""
        with self.shown.open("a") as file:
            file.writelines(f"{ident}\n" for ident in idents)

    def go(self) -> None:
        self.path.unlink()

    def may_not_run(self) -> None:
        self.path.chmod(0o644)

    def fail(self) -> None:
        """Whatever it writes, it says in the end that this is not all."""
        self._write(_FAILS)

    def babble(self) -> None:
        self._write(_BABBLES)

    def hang(self) -> None:
        """Its process is in the file `shown` once it hangs."""
        self._write(_HANGS % self.shown)

    def _write(self, text: str) -> None:
        self.path.write_text(text)
        self.path.chmod(0o755)
