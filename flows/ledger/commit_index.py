"""Keep the footers of all committed files of statistics in memory, and find files by shard, key or original."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from foliopress.flows.ledger.key_ranges import KeyRanges
from foliopress.tasks.records.footers import Footer, ShardEntry, sortable


class CommitIndex:
    """The committed files of a DEST and the shards in them.

    Args:
        run_id: Run that writes; new names carry its mark.
    """

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._files: dict[str, Footer] = {}
        self._entries: dict[str, ShardEntry] = {}
        self._file_of: dict[str, str] = {}
        self._n_written = Counter[str]()
        """Number of files of this run by the base of their names."""
        self._ranges = KeyRanges()
        self._pointing = defaultdict[str, set[str]](set)
        """Files with rows that point to the output of another document, by the key of that original."""

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    @property
    def footers(self) -> dict[str, Footer]:
        """The footers of all files by their names, in the order of their first keys."""
        in_order = sorted(self._files.values(), key=lambda footer: sortable(footer.first_key))
        return {footer.name: footer for footer in in_order}

    def footer(self, name: str) -> Footer:
        """Return the footer of a file."""
        return self._files[name]

    def entry(self, shard_id: str) -> ShardEntry | None:
        """Return what is known of a committed shard; None if it is not committed."""
        return self._entries.get(shard_id)

    def files_of_run(self, run_id: str) -> list[str]:
        """Return the files that a run wrote."""
        return [name for name, footer in self._files.items() if footer.written_by == run_id]

    def shards_only_in(self, name: str) -> list[str]:
        """Return the shards whose newest rows lie in a file."""
        return [one.shard_id for one in self._files[name].shards if self._file_of.get(one.shard_id) == name]

    def files_between(self, first_key: str, last_key: str) -> list[str]:
        """Return the files whose range of keys overlaps another range, both ends included."""
        return list(self._ranges.overlapping(sortable(first_key), sortable(last_key)))

    def files_pointing_to(self, document_keys: Iterable[str]) -> list[str]:
        """Return the files with duplicates of any of these documents."""
        return sorted({name for key in document_keys for name in self._pointing.get(key, ())})

    def new_name(self, base: str) -> str:
        """Return a name that no other run gives to a file, and this run has not given to a file that it wrote."""
        mark = hashlib.sha256(self._run_id.encode()).hexdigest()[:8]
        again = f"-{self._n_written[base] + 1}" if self._n_written[base] else ""
        return f"{base}.{mark}{again}"

    def add(self, footer: Footer) -> None:
        """Add a file, or replace what is known of it."""
        if footer.name in self._files:
            self.remove(footer.name)
        self._files[footer.name] = footer
        if footer.written_by == self._run_id:
            self._n_written[base_of(footer.name)] += 1
        self._ranges.add(footer.name, sortable(footer.first_key), sortable(footer.last_key))
        for entry in footer.shards:
            for key in entry.firsts:
                self._pointing[key].add(footer.name)
            held = self._files.get(self._file_of.get(entry.shard_id, ""))
            # a shard that was done again stands in two files until its older rows are out of the larger one
            if held is None or footer.name not in held.supersedes:
                self._entries[entry.shard_id], self._file_of[entry.shard_id] = entry, footer.name

    def remove(self, name: str) -> None:
        """Remove a file; a shard of it whose newest rows lie in another file stays."""
        footer = self._files.pop(name)
        for entry in footer.shards:
            for key in entry.firsts:
                self._pointing[key].discard(name)
                if not self._pointing[key]:
                    del self._pointing[key]
        self._ranges.remove(name, sortable(footer.first_key), sortable(footer.last_key))
        for entry in footer.shards:
            if self._file_of.get(entry.shard_id) == name:
                del self._file_of[entry.shard_id], self._entries[entry.shard_id]


def base_of(name: str) -> str:
    """Return a file's name without the mark of the run that wrote it."""
    return name.partition(".")[0]
