"""`manage.py revoke_api_key`, `list_api_keys`, and bounds in `create_api_key`."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from queueapp.auth import authenticate, create_key
from queueapp.models import ApiKey

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


class TestCreate:
    def test_takes_bounds_for_a_worker(self) -> None:
        run(
            "create_api_key",
            "w",
            "--role",
            "worker",
            "--bounds",
            "cloud=aws,gcp",
            "account=1",
            "--bounds",
            "cloud=b",
        )
        assert ApiKey.objects.get().bounds == {"account": ["1"], "cloud": ["aws", "b", "gcp"]}

    def test_has_none_without(self) -> None:
        run("create_api_key", "w", "--role", "worker")
        assert ApiKey.objects.get().bounds is None

    @pytest.mark.parametrize(
        "arguments",
        [("worker", "--bounds", "cloud"), ("producer", "--bounds", "cloud=aws"), ("worker", "--bounds")],
    )
    def test_says_what_is_wrong(self, arguments: tuple[str, ...]) -> None:
        with pytest.raises(CommandError, match=r"\w"):
            run("create_api_key", "w", "--role", *arguments)
        assert not ApiKey.objects.exists()


class TestRevoke:
    @pytest.mark.parametrize("said", ["name", "prefix"])
    def test_takes_a_key_by_its_name_or_its_beginning(self, said: str) -> None:
        key, text = create_key("ci", "producer")
        other, other_text = create_key("other", "producer")
        printed = run("revoke_api_key", getattr(key, said))
        assert key.prefix in printed
        assert text not in printed
        assert authenticate(text) is None
        assert authenticate(other_text) == other

    def test_takes_none_of_several_that_could_be_meant(self) -> None:
        texts = [create_key("ci", "producer")[1] for _ in range(2)]
        with pytest.raises(CommandError, match="2 keys"):
            run("revoke_api_key", "ci")
        assert all(map(authenticate, texts))

    def test_takes_the_one_of_a_name_that_is_not_revoked(self) -> None:
        first, _ = create_key("ci", "producer")
        run("revoke_api_key", first.prefix)
        create_key("ci", "producer")
        run("revoke_api_key", "ci")
        assert not ApiKey.objects.usable().exists()

    def test_of_a_key_that_is_not_there_is_an_error(self) -> None:
        create_key("ci", "producer")
        with pytest.raises(CommandError, match="list_api_keys"):
            run("revoke_api_key", "wq_")


class TestList:
    def test_shows_what_each_key_may_do_and_never_the_key(self) -> None:
        key, text = create_key("w", "worker", ["tag", "image.*"], {"cloud": ["aws", "gcp"]})
        create_key("plain", "operator")
        gone, _ = create_key("gone", "producer")
        run("revoke_api_key", gone.prefix)
        _, first, second = run("list_api_keys").splitlines()
        assert first.split() == [key.prefix, "w", "worker", "tag", "image.*", "cloud=aws,gcp", "-", "-"]
        assert second.split()[1:] == ["plain", "operator", "all", "-", "-", "-"]
        everything = run("list_api_keys", "--all")
        assert "gone" in everything
        assert text not in everything
