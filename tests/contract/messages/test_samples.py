"""The samples are the contract by example: they validate, survive a round trip, and are read fast."""

from __future__ import annotations

import json
import time

import pytest

from messages import CATALOG, encode, parse, samples


@pytest.mark.parametrize("name", samples.names())
def test_a_sample_validates_and_survives_the_round_trip(name: str) -> None:
    """Nothing a sample says is lost, changed or reordered by reading and writing it."""
    body = samples.read(name)
    event = parse(body)
    assert name == event.type or name.startswith(event.type + ".")
    assert list(json.loads(encode(event)).items()) == list(json.loads(body).items())
    assert parse(encode(event)) == event


def test_every_type_has_a_sample() -> None:
    """Whoever writes a producer or a consumer finds an example of each event."""
    assert {parse(samples.read(name)).type for name in samples.names()} == set(CATALOG)


def test_the_samples_show_the_hard_cases() -> None:
    """Currencies without and with three decimals, accents, apostrophes, discounts, proration and sub-cent prices."""
    text = "".join(samples.read(name).decode() for name in samples.names())
    for wanted in (
        '"JPY"',
        '"KWD"',
        "O'Brien",
        "Söhne",
        "佐藤",
        '"0.0045"',
        '"29.3548387"',
        '"is_discount": true',
    ):
        assert wanted in text, wanted


def test_ids_are_unique() -> None:
    """A reader that drops repeated ids sees every sample."""
    ids = [parse(samples.read(name)).id for name in samples.names()]
    assert len(set(ids)) == len(ids)


def test_an_invoice_is_parsed_within_half_a_millisecond() -> None:
    """Reading and checking a six-line invoice costs at most 0.5 ms: intake must not be the fleet's bottleneck."""
    body = samples.read("com.algapsa.billing.invoice.finalized.v1")
    assert len(json.loads(body)["data"]["lines"]) == 6
    parse(body)

    def seconds() -> float:
        start = time.perf_counter()
        for _ in range(20):
            parse(body)
        return (time.perf_counter() - start) / 20

    assert min(seconds() for _ in range(20)) <= 0.0005
