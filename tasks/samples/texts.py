"""Invent English sentences, amounts and dates for generated pages."""

from __future__ import annotations

import numpy as np

SURNAMES = (
    "Harding",
    "Okafor",
    "Lindqvist",
    "Mercer",
    "Dunmore",
    "Pryce",
    "Abernethy",
    "Castle",
    "Whitlock",
    "Renfrew",
)
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October")
GOODS = ("timber", "salt herring", "roof slate", "coal", "oak staves", "tallow", "window glass", "hemp rope", "lime")
SHIPS = ("Margaret Ann", "Fulmar", "Provider", "Good Intent", "Hesperus", "Two Brothers")
_PLACES = ("the north quay", "the lower basin", "the customs shed", "Kirk Street", "the old lifeboat house")
_TEMPLATES = (
    "On {day} {month} {year} the schooner {ship} discharged {count} tons of {goods} at {place}.",
    "Mr. {name} reported that the repairs to {place} had cost {amount} dollars, and asked the board to approve.",
    "The committee considered the letter of {name} and resolved to pay {amount} dollars before the end of {month}.",
    "It was found that {count} barrels of {goods} had been entered twice, and the account was corrected.",
    "No vessel of more than {count} feet may lie at {place} between sunset and sunrise without a lantern.",
    "The harbour master was told to write to Messrs. {name} and {other} about the {goods} left in the open in {month}.",
    "Water stood in the cellar of {place} for {small} days, but the registers had been carried upstairs in good time.",
    "A copy of this report was sent to every member, together with the plan drawn by {name} in {year}.",
    "The clerk read the minutes of the last meeting, which were approved and signed.",
    "It is now {small} years since the light was first lit, and in all that time it has not failed for a single night.",
    "Fees received during the quarter came to {amount} dollars, against {amount2} dollars in the year before.",
    "Both wardens agreed that the timber was sound, although the lower courses showed some wear from the tide.",
)


def sample_text(rng: np.random.Generator, sentences: int) -> str:
    """Return English sentences of a harbour town's records, with names, dates and amounts."""
    order = [int(index) for index in rng.permutation(len(_TEMPLATES))]
    return " ".join(_sentence(rng, _TEMPLATES[order[index % len(order)]]) for index in range(sentences))


def sample_paragraphs(rng: np.random.Generator, *sentences: int) -> str:
    """Return paragraphs of `sample_text`, one for each number of sentences, separated by line breaks."""
    return "\n".join(sample_text(rng, count) for count in sentences)


def sample_amount(rng: np.random.Generator, most: int = 4000) -> str:
    """Return an amount of money of 20.00 or more and less than `most`, such as `1,204.50`."""
    return f"{int(rng.integers(20, most)):,}.{int(rng.integers(0, 100)):02d}"


def sample_date(rng: np.random.Generator) -> str:
    """Return a date from 1898 to 1938, such as `3 May 1912`."""
    return f"{rng.integers(1, 29)} {rng.choice(_MONTHS)} {rng.integers(1898, 1939)}"


def _sentence(rng: np.random.Generator, template: str) -> str:
    return template.format(
        day=rng.integers(1, 29),
        month=rng.choice(_MONTHS),
        year=rng.integers(1898, 1939),
        ship=rng.choice(SHIPS),
        count=rng.integers(14, 260),
        small=rng.integers(3, 40),
        goods=rng.choice(GOODS),
        place=rng.choice(_PLACES),
        name=rng.choice(SURNAMES),
        other=rng.choice(SURNAMES),
        amount=sample_amount(rng),
        amount2=sample_amount(rng),
    )
