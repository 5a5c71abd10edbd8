"""Where callbacks may go, by their URL, and how they are signed."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from queueapp.domain.addresses import read_networks
from queueapp.domain.webhooks import forbidden_host, host_of, read_secrets, secret_text, signature

EXAMPLE = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def headers(signed: str, at: int, message_id: str = "1") -> dict[str, str]:
    return {"webhook-id": message_id, "webhook-timestamp": str(at), "webhook-signature": signed}


class TestASignature:
    def test_is_the_one_of_the_published_example(self):
        body = b'{"test": 2432232314}'
        signed = signature(read_secrets(EXAMPLE), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
        assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    @given(secret=st.binary(min_size=24, max_size=64), text=st.text(), message_id=st.uuids())
    def test_is_accepted_by_the_library_that_receivers_use(self, secret: bytes, text: str, message_id: Any):
        body, at = text.encode("utf-8", "replace"), int(time.time())
        signed = headers(signature([secret], str(message_id), at, body), at, str(message_id))
        Webhook(secret_text(secret)).verify(body, signed, json_parse=False)

    def test_is_refused_for_another_body_time_or_id(self):
        at = int(time.time())
        right = headers(signature(read_secrets(EXAMPLE), "1", at, b"{}"), at)
        Webhook(EXAMPLE).verify(b"{}", right)
        for body, changed in (
            (b"[]", right),
            (b"{}", {**right, "webhook-timestamp": str(at + 1)}),
            (b"{}", {**right, "webhook-id": "2"}),
        ):
            with pytest.raises(WebhookVerificationError):
                Webhook(EXAMPLE).verify(body, changed)

    def test_is_there_for_each_secret_so_that_they_can_be_changed(self):
        old, new = secret_text(b"o" * 24), secret_text(b"n" * 32)
        at = int(time.time())
        signed = headers(signature(read_secrets(f"{new} {old}"), "1", at, b"{}"), at)
        for secret in (old, new):
            Webhook(secret).verify(b"{}", signed)


class TestASecret:
    def test_is_read_as_it_is_written(self):
        assert read_secrets(secret_text(b"s" * 40)) == [b"s" * 40]
        assert read_secrets("  ") == []

    @pytest.mark.parametrize(
        "text",
        [
            base64.b64encode(b"s" * 32).decode(),
            "whsec_no base64",
            "whsec_!!!!",
            secret_text(b"s" * 23),
            secret_text(b"s" * 65),
        ],
    )
    def test_that_cannot_be_used_is_refused(self, text: str):
        with pytest.raises(ValueError, match="a secret"):
            read_secrets(text)


class TestTheHost:
    @pytest.mark.parametrize(
        ("url", "host"),
        [
            ("https://example.com/tasks?token=x", "example.com"),
            ("http://EXAMPLE.com:8080", "example.com"),
            ("https://xn--bcher-kva.example/", "xn--bcher-kva.example"),
            ("https://93.184.216.34/", "93.184.216.34"),
            ("https://[2606:2800:21f::1]:443/a", "2606:2800:21f::1"),
        ],
    )
    def test_is_that_of_the_url(self, url: str, host: str):
        assert host_of(url) == host

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "example.com",
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://",
            "https:///path",
            "https://user:secret@example.com/",
            "https://example.com@127.0.0.1/",
            "https://example.com/#top",
            "https://example.com:0/",
            "https://example.com:99999/",
            "https://bücher.example/",
            "https://example.com/a b",
            "https://example.com\\@127.0.0.1/",
            "https://example.com/\r\nX: y",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://[::1/",
            "https://example.com/" + "x" * 2000,
            "https://" + "x" * 254 + "/",
        ],
    )
    def test_of_what_no_callback_can_go_to_is_not_told(self, url: str):
        with pytest.raises(ValueError, match="must"):
            host_of(url)

    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "10.1.2.3", "::1", "localhost", "localhost.", "a.localhost", "fe80::1%eth0"]
    )
    def test_that_leads_inside_is_forbidden(self, host: str):
        assert forbidden_host(host, ())

    def test_that_is_a_name_or_a_public_address_is_not(self):
        for host in ("example.com", "localhost.example.com", "93.184.216.34", "2606:2800:21f::1"):
            assert not forbidden_host(host, ())

    def test_is_allowed_by_its_network(self):
        for host in ("localhost", "127.0.0.1"):
            assert not forbidden_host(host, read_networks("127.0.0.0/8"))
        assert forbidden_host("::1", read_networks("127.0.0.0/8"))
