"""Where a page asks what has become of what it shows: an address that servers and proxies take."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from queueapp import naming

pytestmark = pytest.mark.django_db

REQUEST_LINE = 8192
"""Bytes of it that nginx, Uvicorn and others read at least."""


def now_address(client: Client, page: str, **parameters: str) -> str:
    return client.get(page, parameters).context["cl"].now_address


def names_of(address: str) -> list[str]:
    return parse_qs(urlsplit(address).query)["row"]


@pytest.mark.parametrize("character", ["x", ":"])
def test_of_long_names_has_as_many_as_fit(admin_client: Client, character: str) -> None:
    names = [f"{number:02}".ljust(200, character) for number in range(40)]
    naming.make_queues(names)
    address = now_address(admin_client, "/admin/queueapp/queue/")
    assert len(address) < REQUEST_LINE
    assert 5 < len(names_of(address)) < 40
    assert names_of(address) == names[: len(names_of(address))]
    assert "newer" not in address  # those left out would be taken for new
    assert admin_client.get(address).status_code == 200


def test_of_short_names_has_them_all_and_what_is_newer(admin_client: Client) -> None:
    names = [f"q{number:02}" for number in range(40)]
    naming.make_queues(names)
    address = now_address(admin_client, "/admin/queueapp/queue/")
    assert names_of(address) == names
    assert "newer=1" in address


@pytest.mark.parametrize(
    ("character", "words", "is_watched"),
    [("x", 1, True), ("x", 17, True), ("x", 25, False), ("ü", 1, True), ("ü", 17, False)],
)
def test_of_a_filter_is_asked_where_it_is_no_longer_than_can_be(
    admin_client: Client, character: str, words: int, is_watched: bool
) -> None:
    text = " ".join(f"attr.k{number}:{character * 100}" for number in range(words))
    address = now_address(admin_client, "/admin/queueapp/task/", q=text)
    assert ("newer=1" in address) == is_watched
    assert len(address) < REQUEST_LINE
    assert not address or admin_client.get(address).status_code == 200
