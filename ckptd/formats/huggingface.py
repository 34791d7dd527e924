"""The `checkpoint-<step>` family: transformers' Trainer and what is built on it.

PEFT, TRL, LLaMA-Factory, axolotl and ms-swift write the same files. Layout and order are from
transformers 5.23 (trainer.py, `_save_checkpoint`) and from real trees: the weights first,
`trainer_state.json` last.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

from ckptd.formats import containers, reading, samples
from ckptd.formats import trainer_files as files
from ckptd.formats.base import WITH_THE_SAVE, Claim, Peek
from ckptd.formats.reading import Fault
from ckptd.formats.trainer_files import What
from ckptd.formats.trainer_state import State, is_name, read_limit, read_state, step_of
from ckptd.model import Entry, Findings, Kind, Marker, Part, Role, Tree, moment
from ckptd.units import show_text


class HuggingFace:
    """Recognises and reads checkpoints of the Trainer family."""

    name: str = "huggingface"
    proven: bool = True
    marker: str | None = files.MARKER

    def claims(self, children: Sequence[Entry]) -> Iterable[Claim]:
        """Directories named exactly `checkpoint-<digits>`; a link or a file is none."""
        return [
            Claim(child.name, step_of(child.name))
            for child in children
            if child.kind is Kind.DIRECTORY and is_name(child.name)
        ]

    def exports(self, children: Sequence[Entry]) -> tuple[str, ...]:
        """Weights, configuration and tokenizer of a final export lying in the run itself."""
        return tuple(
            child.name
            for child in children
            if child.kind is Kind.FILE and files.is_export(child.name)
        )

    def inspect(self, claim: Claim, tree: Tree, peek: Peek) -> Findings:
        """What the bytes of *claim* say. Raises nothing for what it finds in them."""
        return _Inspection(claim, tree, peek).findings()


HUGGINGFACE = HuggingFace()


_DATED: Final = frozenset({What.MARKER, What.WEIGHTS})
# Evidence that a Trainer was saving here, unlike a download or an export.
_TRAINING: Final = frozenset({What.OPTIMIZER, What.SCHEDULER, What.RNG, What.TRAINING_ARGS})


@dataclass(frozen=True, slots=True)
class _Sign:
    """What the marker says, and the state in it when it could be read."""

    marker: Marker
    text: str
    state: State | None = None
    doubt: str | None = None


class _Inspection:
    """One look into one claim."""

    def __init__(self, claim: Claim, tree: Tree, peek: Peek) -> None:
        self._claim = claim
        self._tree = tree
        self._peek = peek
        self._entries = {e.path: e for e in tree.entries}
        self._files = {e.path: e for e in tree.files}
        self._known = {path: kind for path in self._entries if (kind := files.what(path))}
        self._weights = tuple(
            path for path, kind in self._known.items() if kind is What.WEIGHTS and "/" not in path
        )
        self._to_sample = samples.files(self._weights)
        self._sampled: dict[str, str | None] = {}
        self._faults = (
            *self._container_faults(),
            *self._shard_faults(),
            *self._metadata_faults(),
        )

    def findings(self) -> Findings:
        """Everything that is found, put together."""
        sign, parts, roles = self._sign(), self._parts(), self._roles()
        damage, doubts = self._complaints(sign)
        saved_at = self._saved_at(sign.marker)
        return Findings(
            recognised=bool(self._known) or not self._entries,
            step=self._claim.step,
            saved_at=saved_at,
            marker=sign.marker,
            marker_text=sign.text,
            parts=parts,
            damage=damage,
            doubts=doubts,
            roles=frozenset(roles),
            ranks=sum(files.is_rank(path) for path in self._files),
            resumable=not roles.isdisjoint(_TRAINING),
            weights_whole=any(p.role is Role.WEIGHTS and self._whole(p.files) for p in parts),
            metrics=sign.state.metrics if sign.state else {},
            best=sign.state.best if sign.state else None,
            trainer_limit=self._limit(),
            names=self._names(saved_at),
            divergence=sign.state.divergence if sign.state else None,
            sampled=self._sampled,
        )

    # --- what is wrong -------------------------------------------------------------------

    def _container_faults(self) -> Iterator[Fault]:
        """One for each container that is not whole or has something else in its place."""
        for entry in self._tree.entries:
            if check := self._check(entry):
                found = reading.attempt(check, entry, self._peek)
                if isinstance(found, Fault):
                    yield found

    def _check(self, entry: Entry) -> containers.Check | None:
        kind = self._known.get(entry.path)
        if kind is None or kind in {What.MARKER, What.CONFIG}:
            return None
        if entry.path.endswith(".index.json"):
            return partial(containers.index, present=self._names_beside(entry.path))
        if entry.kind in {Kind.SYMLINK, Kind.OTHER}:
            return _nothing
        if entry.path in self._to_sample:
            return self._check_and_sample
        return containers.check_for(entry.path)

    def _check_and_sample(self, entry: Entry, peek: Peek) -> None:
        header, begin = containers.header(entry, peek)
        self._sampled |= samples.sample(entry, peek, header, begin)

    def _names_beside(self, path: str) -> set[str]:
        folder = path.rpartition("/")[0]
        return {e.name for e in self._entries.values() if e.path.rpartition("/")[0] == folder}

    def _shard_faults(self) -> Iterator[Fault]:
        """Shards that lack members or an index; with an index, that one tells."""
        sharded = [path for path in self._weights if containers.is_shard(path)]
        if not sharded or any(path.endswith(".index.json") for path in self._weights):
            return
        yield Fault(sharded[0], f"{show_text(sharded[0])} has no index beside it", proven=False)
        for gap in containers.gaps(sharded):
            others = f" and {gap.count - 1} more are" if gap.count > 1 else " is"
            text = f"{show_text(gap.first)}{others} missing beside {show_text(gap.present)}"
            yield Fault(gap.present, text, proven=True)

    def _metadata_faults(self) -> Iterator[Fault]:
        """DCP writes `.metadata` after the shards of all ranks (checkpoint/filesystem.py)."""
        shards = {p.rpartition("/")[0]: p for p in self._known if p.endswith(".distcp")}
        for folder, path in shards.items():
            if f"{folder}/.metadata" not in self._files:
                text = f"{show_text(folder)} has no .metadata: its shards were never committed"
                yield Fault(path, text, proven=True)

    def _complaints(self, sign: _Sign) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Damage and doubts. What another framework wrote is doubted, never called damaged."""
        damage = tuple(fault.text for fault in self._faults if fault.proven)
        doubts = tuple(fault.text for fault in self._faults if not fault.proven)
        strange = tuple(
            f"{show_text(path)} is written by another framework, not by a Trainer"
            for path in self._entries
            if files.is_strange(path)
        )
        doubts = (*strange, *doubts, *self._other_doubts(sign))
        return ((), (*doubts, *damage)) if strange else (damage, doubts)

    def _other_doubts(self, sign: _Sign) -> Iterator[str]:
        if sign.doubt:
            yield sign.doubt
        if self._claim.step is None:
            digits = len(self._claim.name.rpartition("-")[2])
            yield f"its step has {digits} digits, more than any training counts"
        for path in self._entries:
            if files.is_cut_save(path):
                yield f"{show_text(path)} is a temporary file of a cut save"

    # --- the marker ----------------------------------------------------------------------

    def _sign(self) -> _Sign:
        if files.INCOMPLETE in self._entries:
            return _Sign(Marker.ABSENT, f"{files.INCOMPLETE} is there: a save was under way")
        entry = self._entries.get(files.MARKER)
        if entry is None:
            return _Sign(Marker.ABSENT, f"{files.MARKER} is missing")
        state = reading.attempt(read_state, entry, self._peek)
        if isinstance(state, Fault):
            return _Sign(Marker.TORN, state.text, doubt=None if state.proven else state.text)
        if self._claim.step not in {None, state.step}:
            text = f"{files.MARKER} speaks of step {state.step}, not of {self._claim.step}"
            return _Sign(Marker.FOREIGN, text, replace(state, metrics={}, divergence=None))
        return self._dated(entry, state)

    def _dated(self, marker: Entry, state: State) -> _Sign:
        """What the times of the other files make of a marker that speaks of this save."""
        later = [path for path, e in self._files.items() if e.mtime_ns > marker.mtime_ns]
        if core := next((path for path in later if files.is_core(path)), None):
            return _Sign(Marker.STALE, f"{files.MARKER} is older than {show_text(core)}", state)
        if late := next((path for path in later if files.is_late(path)), None):
            text = f"{show_text(late)} came after {files.MARKER}"
            return _Sign(Marker.LATE_FILES, text, state)
        return _Sign(Marker.CURRENT, f"{files.MARKER} is not older than the rest", state)

    # --- what is there -------------------------------------------------------------------

    def _roles(self) -> set[What]:
        kinds = {self._known[path] for path in self._files if path in self._known}
        return kinds - {What.MARKER} if files.INCOMPLETE in self._entries else kinds

    def _names(self, saved_at: datetime) -> frozenset[str]:
        """What came with the save; what a person adds later is no model for its siblings."""
        latest = saved_at + WITH_THE_SAVE
        return frozenset(p for p, e in self._entries.items() if moment(e.mtime_ns) <= latest)

    def _saved_at(self, marker: Marker) -> datetime:
        """What a person merges into an old save months later makes it no newer."""
        if marker is Marker.LATE_FILES:
            return moment(self._files[files.MARKER].mtime_ns)
        telling = [e for path, e in self._files.items() if self._known.get(path) in _DATED]
        dated = telling or self._files.values() or self._entries.values() or (self._tree.root,)
        return moment(max(e.mtime_ns for e in dated))

    def _parts(self) -> tuple[Part, ...]:
        roles = {path: files.role(path) for path in self._files if not files.is_cut_save(path)}
        if not self._whole(self._weights):
            # ZeRO-3 leaves no other weights than those in its shards (trainer.py:4116).
            sharded = (path for path in roles if self._known.get(path) is What.DEEPSPEED)
            roles |= dict.fromkeys(sharded, Role.WEIGHTS)
        return tuple(part for role in Role if (part := self._part(role, roles)).files)

    def _part(self, role: Role, roles: Mapping[str, Role]) -> Part:
        paths = tuple(path for path, its in roles.items() if its is role)
        inodes = {(e.device, e.inode): e.allocated for e in map(self._files.__getitem__, paths)}
        return Part(role, paths, sum(inodes.values()))

    def _whole(self, paths: Collection[str]) -> bool:
        """Whether containers are among *paths* and nothing is wrong with any of these."""
        found = any(containers.check_for(p) or p.endswith(".distcp") for p in paths)
        return found and not any(fault.path in paths for fault in self._faults)

    def _limit(self) -> int | None:
        entry = self._files.get(files.TRAINING_ARGS)
        limit = reading.attempt(read_limit, entry, self._peek) if entry else None
        return None if isinstance(limit, Fault) else limit


def _nothing(_entry: Entry, _peek: Peek) -> None:
    """The check of what is never read."""
