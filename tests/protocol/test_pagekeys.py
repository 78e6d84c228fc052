"""One thread for each page, however its address is written."""

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from protocol.errors import Refused
from protocol.pagekeys import canonical_url, origin_of, page_of


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/a/b",
        "http://example.org/a/b",
        "https://EXAMPLE.org/a/b/",
        "https://example.org:443/a/b?utm_source=x",
        "http://example.org:80/a/b#comments",
        "https://example.org/%61/b//",
    ],
)
def test_addresses_of_one_page_have_one_key(url: str) -> None:
    assert page_of(None, url, None, None).key == "url:example.org/a/b"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/a/B",
        "https://example.org:8443/a/b",
        "https://www.example.org/a/b",
        "https://example.org/a%2Fb",
        "https://example.org/",
    ],
)
def test_addresses_of_other_pages_have_other_keys(url: str) -> None:
    assert page_of(None, url, None, None).key != "url:example.org/a/b"


def test_an_explicit_id_comes_before_the_address_and_the_address_before_the_path() -> None:
    assert page_of("42", "https://a.org/x", "/y", "https://b.org") == ("id:42", "https://a.org/x")
    assert page_of(None, "https://a.org/x", "/y", "https://b.org") == ("url:a.org/x", "https://a.org/x")
    assert page_of(None, None, "/y/?z", "https://b.org") == ("url:b.org/y", "https://b.org/y")


def test_a_path_is_the_same_page_as_the_address_it_makes_with_its_site() -> None:
    assert page_of(None, None, "/x", "https://a.org").key == page_of(None, "http://a.org/x/", None, None).key


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("https://bücher.example/käse", "https://xn--bcher-kva.example/k%C3%A4se"),
        ("https://example.org", "https://example.org/"),
        ("http://[2001:DB8::1]:8080/a", "http://[2001:db8::1]:8080/a"),
        ("https://example.org/%FF", "https://example.org/%FF"),
    ],
)
def test_a_canonical_address_has_one_spelling(url: str, canonical: str) -> None:
    assert canonical_url(url) == canonical


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org/a",
        "//example.org/a",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://",
        "https://trusted.org@evil.org/",
        "https://example.org:99999/",
        "https://example.org:port/",
        "https://[::1/",
        'https://exa"mple.org/',
        "https://" + "ü" * 300 + ".org/",
    ],
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(Refused) as refusal:
        page_of(None, url, None, None)
    assert refusal.value.code == "invalid"


@pytest.mark.parametrize(("path", "site"), [("/a", None), ("a", "https://a.org"), (None, "https://a.org")])
def test_a_path_needs_a_site_and_a_slash(path: str | None, site: str | None) -> None:
    with pytest.raises(Refused):
        page_of(None, None, path, site)


def test_an_origin_is_written_as_browsers_write_it() -> None:
    assert origin_of("https://Example.org:443/a?b") == "https://example.org"
    assert origin_of("http://localhost:8080/") == "http://localhost:8080"


@given(st.text(max_size=60), st.text(max_size=20))
def test_a_canonical_address_is_its_own(path: str, host: str) -> None:
    try:
        once = canonical_url(f"https://{host or 'example.org'}/{path}")
    except Refused:
        reject()
    assert canonical_url(once) == once
    assert once.isascii()
