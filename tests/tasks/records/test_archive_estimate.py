"""Test sampling estimates and the coverage of their confidence intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foliopress.tasks.records.archive_estimate import EstimatedTotal, SampledStratum, draw_sample, estimate_total
from foliopress.tasks.storage.source_listing import Document


def archive(n_documents, seed=0):
    """Return documents of three formats in four folders, with sizes over two decades, and their compressed sizes."""
    chance = np.random.default_rng(seed)
    documents, outputs = [], {}
    for number in range(n_documents):
        suffix, ratio = [(".jpg", 0.2), (".tif", 0.05), (".pdf", 1.0)][number % 3]
        key = f"box {chance.integers(4)}/{number:05d}{suffix}"
        size = int(10 ** chance.uniform(4, 6))
        documents.append(Document(key, size, "1"))
        outputs[key] = size * ratio * float(chance.lognormal(0, 0.4)) if suffix != ".pdf" else size
    return sorted(documents, key=lambda document: document.key), outputs


def test_of_a_whole_archive_the_total_is_known_exactly():
    documents, outputs = archive(40)
    shares = draw_sample(documents, 1000, seed=0)
    assert sum(len(share.documents) for share in shares) == 40
    truth = sum(outputs.values())
    found = estimate_total(shares, outputs)
    assert (found.value, found.low, found.high) == pytest.approx((truth, truth, truth))


def test_documents_that_all_shrink_alike_leave_no_doubt():
    documents, _ = archive(500)
    shares = draw_sample(documents, 50, seed=0)
    found = estimate_total(shares, {document.key: document.size_bytes / 4 for document in documents})
    whole = sum(document.size_bytes for document in documents) / 4
    assert (found.value, found.low, found.high) == pytest.approx((whole, whole, whole))


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    documents, outputs = archive(2000)
    truth = sum(outputs.values())
    found = [estimate_total(draw_sample(documents, 80, seed), outputs) for seed in range(300)]
    held = np.mean([one.low <= truth <= one.high for one in found])
    assert 0.85 <= held <= 0.97
    assert abs(np.mean([one.value for one in found]) / truth - 1) < 0.01
    assert np.median([one.high - one.low for one in found]) / truth < 0.2


def test_the_same_seed_draws_the_same_and_another_draws_others():
    documents, _ = archive(500)
    first, again, other = draw_sample(documents, 50, 1), draw_sample(documents, 50, 1), draw_sample(documents, 50, 2)
    assert first == again
    assert first != other


def test_a_document_more_changes_the_draw_little():
    documents, _ = archive(3000)
    before = {document.key for share in draw_sample(documents, 100, 0) for document in share.documents}
    grown = [Document("aaa.jpg", 50_000, "1"), *documents]
    after = {document.key for share in draw_sample(grown, 100, 0) for document in share.documents}
    assert len(before & after) >= len(before) - 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10**7)), max_size=80), st.integers(1, 40))
def test_every_document_belongs_to_one_stratum_and_none_is_drawn_twice(entries, n_documents):
    documents = [Document(f"{folder}/{number}.jpg", size, "1") for number, (folder, size) in enumerate(entries)]
    shares = draw_sample(documents, n_documents, 0)
    weighty = [document for document in documents if document.size_bytes]
    assert sum(share.n_documents for share in shares) == len(weighty)
    assert sum(share.size_bytes for share in shares) == sum(document.size_bytes for document in weighty)
    drawn = [document.key for share in shares for document in share.documents]
    assert len(drawn) == len(set(drawn))
    assert len(drawn) >= min(n_documents, len(weighty)) // 2
    assert all(share.documents for share in shares)


def test_a_listing_of_many_folders_is_a_stream_that_holds_few():
    documents = (Document(f"folder {number % 5000}/{number}.jpg", 1000 + number, "1") for number in range(20_000))
    shares = draw_sample(documents, 60, 0)
    assert sum(share.n_documents for share in shares) == 20_000
    assert sum(len(share.documents) for share in shares) < 200


def test_the_ratio_estimator_worked_by_hand():
    # 3 of 10 documents drawn: 10, 20 and 30 bytes became 2, 4 and 9; the ratio is 15/60, the residuals -0.5, -1, 1.5
    drawn = tuple(Document(f"{size}.jpg", size, "1") for size in (10, 20, 30))
    found = estimate_total([SampledStratum(10, 200, drawn)], {"10.jpg": 2.0, "20.jpg": 4.0, "30.jpg": 9.0})
    assert found.value == pytest.approx(50.0)
    half = 2.9200 * (10 * 10 * (1 - 3 / 10) * (0.25 + 1 + 2.25) / 2 / 3) ** 0.5  # Student's t of 2 degrees of freedom
    assert found.high - found.value == pytest.approx(half, rel=0.001)


def test_what_each_document_has_about_as_much_of_is_counted_by_documents():
    drawn = (Document("a.jpg", 10, "1"), Document("b.jpg", 1000, "1"))
    found = estimate_total([SampledStratum(50, 10_000, drawn)], {"a.jpg": 1.0, "b.jpg": 1.0}, by_bytes=False)
    assert (found.value, found.low, found.high) == (50.0, 50.0, 50.0)


def test_no_total_is_less_than_nothing():
    drawn = (Document("a.jpg", 10, "1"), Document("b.jpg", 10, "1"))
    assert estimate_total([SampledStratum(1000, 10_000, drawn)], {"a.jpg": 0.0, "b.jpg": 10.0}).low == 0.0


def test_a_stratum_without_a_figure_is_an_error():
    with pytest.raises(ValueError, match="a stratum has no value"):
        estimate_total([SampledStratum(1, 10, (Document("a.jpg", 10, "1"),))], {})


def test_an_empty_archive_is_an_empty_sample():
    assert draw_sample([], 10, 0) == []
    assert estimate_total([], {}) == EstimatedTotal(0.0, 0.0, 0.0)
