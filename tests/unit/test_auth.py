"""Keys and pre-shared tokens."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.conf import settings as project_settings
from django.utils import timezone

from queueapp.auth import authenticate, authenticate_worker, create_key
from queueapp.domain.errors import Forbidden, NotAuthenticated
from queueapp.models import ApiKey

PSK = "correct horse battery staple"
SALT = bytes(range(240, 256))
"""Its base64 has characters that differ between the two alphabets, and padding."""


@pytest.mark.django_db
class TestAKey:
    def test_is_stored_as_a_digest_and_its_beginning(self) -> None:
        key, text = create_key("ci", "producer", ["image.*"])
        assert text.startswith("wq_")
        assert text.startswith(key.prefix)
        assert len(key.prefix) < 12
        assert key.digest == hashlib.sha256(text.encode()).hexdigest()
        assert key.task_globs == ["image.*"]
        stored = ApiKey.objects.values().get(pk=key.pk)
        assert text not in [str(value) for value in stored.values()]

    def test_authenticates(self) -> None:
        key, text = create_key("ci", "producer")
        assert authenticate(text) == key

    @pytest.mark.parametrize("token", ["", "wq_", "wq_nobody", "wq_é", "wq_\x00", "wq_\ud800", "x"])
    def test_of_another_text_does_not(self, token: str) -> None:
        create_key("ci", "producer")
        assert authenticate(token) is None

    def test_is_refused_once_revoked(self) -> None:
        key, text = create_key("ci", "producer")
        ApiKey.objects.filter(pk=key.pk).update(revoked_at=timezone.now())
        assert authenticate(text) is None

    @pytest.mark.parametrize(
        ("name", "role", "globs"),
        [("", "producer", []), ("a\x00", "producer", []), ("ci", "king", []), ("ci", "worker", ["a b"])],
    )
    def test_cannot_be_made_of_nonsense(self, name: str, role: str, globs: list[str]) -> None:
        with pytest.raises(ValueError, match=r"\w"):
            create_key(name, role, globs)
        assert not ApiKey.objects.exists()


@pytest.mark.django_db
class TestTheLastUse:
    def test_is_kept(self) -> None:
        key, text = create_key("ci", "producer")
        authenticate(text)
        key.refresh_from_db()
        assert key.last_used_at is not None

    def test_is_written_once_a_minute_at_most(self, django_assert_num_queries: Any) -> None:
        _, text = create_key("ci", "producer")
        with django_assert_num_queries(2):
            authenticate(text)
        with django_assert_num_queries(1):
            authenticate(text)

    def test_is_written_again_after_a_minute(self) -> None:
        key, text = create_key("ci", "producer")
        long_ago = timezone.now() - timedelta(minutes=2)
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=long_ago)
        authenticate(text)
        key.refresh_from_db()
        assert key.last_used_at is not None
        assert key.last_used_at > long_ago


@pytest.mark.django_db
class TestAWorkersKey:
    def test_lets_it_attach(self) -> None:
        key, text = create_key("w", "worker")
        identity = authenticate_worker(text)
        assert identity.api_key == key
        assert identity.reach.includes("anything")

    def test_may_be_for_certain_names(self) -> None:
        _, text = create_key("w", "worker", ["image.*", "tag"])
        identity = authenticate_worker(text)
        assert identity.reach.includes("image.resize")
        assert identity.reach.includes("tag")
        assert not identity.reach.includes("tagged")

    @pytest.mark.parametrize("role", ["producer", "operator"])
    def test_is_of_no_other_role(self, role: str) -> None:
        _, text = create_key("w", role)
        with pytest.raises(Forbidden, match=f"with the role {role} does not attach"):
            authenticate_worker(text)

    @pytest.mark.parametrize("token", ["", "wq_nobody", "a.b.c"])
    def test_cannot_be_guessed(self, token: str) -> None:
        with pytest.raises(NotAuthenticated):
            authenticate_worker(token)


def signed(
    psk: str = PSK,
    algorithm: str = "HS256",
    encode: Callable[[bytes], bytes] = base64.b64encode,
    claims: dict[str, Any] | None = None,
    **header: Any,
) -> str:
    key = hashlib.pbkdf2_hmac("sha256", psk.encode(), SALT, 100_000, 32)
    header = {"salt": encode(SALT).decode(), **header}
    return jwt.encode(claims or {}, key, algorithm=algorithm, headers=header)


class TestATokenOfThePreSharedKey:
    @pytest.fixture(autouse=True)
    def _psk(self, settings: Any) -> None:
        settings.WORKQUEUE = replace(project_settings.WORKQUEUE, psk=PSK)

    @pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
    def test_is_good_with_either_alphabet_of_base64(self, encode: Callable[[bytes], bytes]) -> None:
        identity = authenticate_worker(signed(encode=encode))
        assert identity.api_key is None
        assert identity.reach.includes("anything")

    def test_needs_no_padding_in_its_salt(self) -> None:
        authenticate_worker(signed(encode=lambda salt: base64.b64encode(salt).rstrip(b"=")))

    def test_may_carry_other_claims(self) -> None:
        claims = {"aud": "x", "iss": "y", "sub": 1, "iat": time.time() + 60, "exp": time.time() + 60}
        authenticate_worker(signed(claims=claims))

    @pytest.mark.parametrize(
        "token",
        [
            pytest.param(lambda: signed("another key"), id="another key"),
            pytest.param(lambda: signed(claims={"exp": time.time() - 60}), id="expired"),
            pytest.param(lambda: signed(claims={"exp": "soon"}), id="expiry that is no time"),
            pytest.param(lambda: signed(algorithm="HS384"), id="HS384"),
            pytest.param(lambda: jwt.encode({}, None, "none", {"salt": "AAAA"}), id="unsigned"),
            pytest.param(lambda: signed(salt=""), id="no salt"),
            pytest.param(lambda: signed(salt=None), id="null salt"),
            pytest.param(lambda: signed(salt=7), id="salt that is no text"),
            pytest.param(lambda: signed(salt="%%%"), id="salt that is not base64"),
            pytest.param(lambda: signed(salt="é"), id="salt that is not ASCII"),
            pytest.param(lambda: signed(salt="A" * 4000), id="endless salt"),
            pytest.param(lambda: "garbage", id="garbage"),
            pytest.param(lambda: "a.b.c", id="dotted garbage"),
            pytest.param(lambda: "\ud800.b.c", id="what UTF-8 has not"),
        ],
    )
    @pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
    def test_is_refused(self, token: Callable[[], str]) -> None:
        with pytest.raises(NotAuthenticated):
            authenticate_worker(token())


def test_no_token_is_good_without_a_pre_shared_key() -> None:
    with pytest.raises(NotAuthenticated):
        authenticate_worker(signed(psk=""))
