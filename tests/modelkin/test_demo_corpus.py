import itertools

import pytest

from modelkin.demo.corpus import LIMIT_BYTES, domains, text_of
from storage.errors import UsageError


def test_at_least_five_domains_have_enough_text() -> None:
    assert len(domains()) >= 5
    for domain in domains():
        assert len(text_of(domain)) == LIMIT_BYTES


def test_domains_use_different_words() -> None:
    words = {domain: set(text_of(domain).split()) for domain in domains()}
    for one, other in itertools.combinations(words.values(), 2):
        assert len(one & other) < 0.4 * min(len(one), len(other))


def test_a_domain_always_gives_the_same_text() -> None:
    assert text_of("graphs") == text_of("graphs")


def test_an_unknown_domain_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="reference"):
        text_of("poetry")
