"""Test the split into training and validation, and the detection of handwritten documents."""

from __future__ import annotations

from pathlib import Path

from foliopress.model.dataset import handwritten_documents, split_documents
from foliopress.model.truth import Scan


def scan(collection: str = "c", document: str = "c/d", truth: Path | None = Path("a.xml")) -> Scan:
    return Scan(f"{collection}/a.jpg", Path("a.jpg"), "train", collection, document, truth)


def test_no_document_is_parted_and_every_larger_collection_is_in_both_parts() -> None:
    scans = [scan("books", f"books/{number // 3}") for number in range(12)]
    scans += [scan("letters", f"letters/{number}") for number in range(5)] + [scan("maps", "maps/1")]
    by_hand = frozenset({"letters/0", "letters/1"})
    training, validation = split_documents(scans, by_hand)
    documents = {s.document for s in training}, {s.document for s in validation}
    assert not documents[0] & documents[1]
    assert len(training) + len(validation) == len(scans)
    assert "maps/1" in documents[0]
    assert len([d for d in documents[1] if d.startswith("books")]) == 1
    assert len(by_hand & documents[1]) == 1
    assert split_documents(scans, by_hand) == (training, validation)


def test_a_document_is_handwritten_when_most_of_its_lines_are(tmp_path: Path) -> None:
    for name, labels in (("a", "HHP"), ("b", "HPP")):
        lines = "".join(f'<TextLine TAGREFS="{tag}" HPOS="0" VPOS="0" WIDTH="9" HEIGHT="9"/>' for tag in labels)
        (tmp_path / f"{name}.xml").write_text(f'<alto><OtherTag ID="H" LABEL="Handwritten"/>{lines}</alto>')
    scans = [scan("c", f"c/{name}", tmp_path / f"{name}.xml") for name in "ab"]
    assert handwritten_documents(scans) == {"c/a"}
