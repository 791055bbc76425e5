"""Test how a listing is cut into shards."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from foliopress.configs.settings import ShardSettings
from foliopress.flows.run.shards import cut, cut_shards, shard_id
from foliopress.tasks.storage.source_listing import Document

keys = st.lists(st.text(min_size=1, max_size=6), unique=True, max_size=60).map(
    lambda found: sorted(found, key=lambda key: key.encode("utf-8", "surrogatepass"))
)
sizes = st.integers(0, 1000)


def documents(names: list[str], size_bytes: int = 10) -> list[Document]:
    return [Document(name, size_bytes, "1") for name in names]


@given(names=keys, size_bytes=sizes, max_documents=st.integers(1, 20), max_bytes=st.integers(1, 5000))
def test_the_pieces_put_back_together_are_the_listing(
    names: list[str], size_bytes: int, max_documents: int, max_bytes: int
) -> None:
    listing = documents(names, size_bytes)
    pieces = list(cut(listing, max_documents, max_bytes))
    assert [document for piece in pieces for document in piece] == listing
    assert all(1 <= len(piece) <= max_documents for piece in pieces)
    assert all(sum(document.size_bytes for document in piece[:-1]) < max_bytes for piece in pieces)


@given(names=keys.filter(bool), new=st.text(min_size=1, max_size=6), max_documents=st.integers(1, 20))
def test_a_document_more_changes_no_piece_that_lies_before_it(names: list[str], new: str, max_documents: int) -> None:
    before = list(cut(documents(names), max_documents, 10**9))
    after = list(cut(documents(sorted({*names, new}, key=str.encode)), max_documents, 10**9))
    untouched = [piece for piece in before if len(piece) and piece[-1].key.encode() < new.encode()]
    # the piece just before the new document may have ended only because the listing did
    assert after[: max(0, len(untouched) - 1)] == untouched[: max(0, len(untouched) - 1)]


def test_a_document_put_first_changes_one_piece_or_rarely_a_few() -> None:
    changed = []
    for trial in range(200):
        names = [f"letters/{trial}/{number:03d}.jpg" for number in range(24)]
        before = set(cut(documents(names), 4, 10**9))
        after = set(cut(documents([f"a/{trial}.jpg", *names]), 4, 10**9))
        changed.append(len(after - before))
    assert sum(count == 1 for count in changed) >= 190
    assert max(changed) <= 4


def test_a_document_put_in_anywhere_leaves_nearly_all_pieces_of_a_large_archive() -> None:
    names = [f"box{number // 100:02d}/scan{number:04d}.tif" for number in range(0, 8000, 2)]
    before = set(cut(documents(names), 100, 10**9))
    for place in range(1, 8000, 401):
        with_new = sorted([*names, f"box{place // 100:02d}/scan{place:04d}.tif"])
        assert len(set(cut(documents(with_new), 100, 10**9)) - before) <= 3


def test_a_listing_is_cut_while_it_streams() -> None:
    taken = 0

    def listing():
        nonlocal taken
        for number in range(10**6):
            taken += 1
            yield Document(f"{number:07d}", 1, "1")

    next(iter(cut_shards(listing(), ShardSettings(max_documents=50), "recipe")))
    assert taken <= 50


def test_a_shard_id_tells_documents_versions_and_recipes_apart() -> None:
    plain = documents(["a.jpg", "b.jpg"])
    ids = [
        shard_id(plain, "recipe"),
        shard_id(plain[:1], "recipe"),
        shard_id(plain, "other"),
        shard_id([plain[0], Document("b.jpg", 10, "2")], "recipe"),
        shard_id([Document("a.jpg1b.jpg", 10, "1")], "recipe"),
    ]
    assert len(set(ids)) == len(ids)
    assert all(len(one) == 24 for one in ids)
    assert shard_id(plain, "recipe") == ids[0]
