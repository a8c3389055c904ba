"""Secrets: known ones are in no text, and named ones in no mapping."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playbook_kernel import redaction
from playbook_kernel.redaction import MASK, Secret, is_secret_name, redact, redacted


@pytest.fixture(autouse=True, scope="module")
def _forget() -> Iterator[None]:
    """What becomes a secret here must not be taken out of other tests' texts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redaction, "_known", set())
        patch.setattr(redaction, "_pattern", None)
        yield


def test_a_secret_prints_as_stars_and_is_revealed_on_purpose_only() -> None:
    secret = Secret("s3cr3t-Redaction")
    assert {str(secret), repr(secret), f"{secret}", f"{[secret]}", "%s" % secret} == {MASK, f"[{MASK}]"}  # noqa: UP031
    assert secret.reveal() == "s3cr3t-Redaction"
    assert secret == Secret("s3cr3t-Redaction")
    assert secret != "s3cr3t-Redaction"
    assert len({secret, Secret("s3cr3t-Redaction")}) == 1
    assert (bool(secret), bool(Secret(""))) == (True, False)


@given(st.text(min_size=4, max_size=30).filter(lambda t: t.strip("*")), st.text(), st.text())
def test_a_known_secret_is_in_no_text(value: str, before: str, after: str) -> None:
    Secret(value)
    assert value not in redact(before + value + after).replace(MASK, "")


def test_the_longer_of_two_secrets_is_taken_whole() -> None:
    Secret("abcd-red"), Secret("abcd-red-and-more")
    assert redact("x abcd-red-and-more y abcd-red z") == f"x {MASK} y {MASK} z"


def test_a_secret_that_looks_like_a_pattern_is_plain_text() -> None:
    Secret("a.*[b]+$")
    assert redact("a.*[b]+$ axxxb") == f"{MASK} axxxb"


def test_short_texts_are_not_masked_everywhere() -> None:
    Secret("abc")
    assert redact("abc") == "abc"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://user:pa55@host/x", f"http://user:{MASK}@host/x"),
        ("see https://:tok@h and ftp://a:b@c", f"see https://:{MASK}@h and ftp://a:{MASK}@c"),
        ("http://host:8000/a@b", "http://host:8000/a@b"),
        ("mail me: a:b@c", "mail me: a:b@c"),
    ],
)
def test_passwords_in_urls_are_taken_out_whether_known_or_not(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "name",
    ["password", "DB_PASSWORD", "api-key", "apikey", "x.token", "HF_TOKEN", "Secret", "aws_access_key", "private_key",
     "key_passphrase", "credentials"],
)  # fmt: skip
def test_secret_names(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["max_tokens", "MS_PER_TOKEN_S", "token_budget", "key", "keyboard", "tokenizer", "secretary", ""]
)
def test_harmless_names(name: str) -> None:
    assert not is_secret_name(name)


def test_any_nesting_is_redacted_by_name_and_by_content() -> None:
    Secret("nested-value")
    value = {
        "password": "x",
        "token": "",
        "passwords_by_host": "y",
        "plain": ["nested-value", ("deep nested-value", 5, None, True, 1.5)],
        "nested-value": 1,
        "secret": ["listed", "too"],
        "bytes": b"nested-value\xff",
        "object": Secret("whatever"),
    }
    assert redacted(value) == {
        "password": MASK,
        "token": "",
        "passwords_by_host": "y",
        "plain": [MASK, [f"deep {MASK}", 5, None, True, 1.5]],
        MASK: 1,
        "secret": [MASK, MASK],
        "bytes": f"{MASK}\ufffd",
        "object": MASK,
    }
    assert value["password"] == "x", "the original is as it was"
