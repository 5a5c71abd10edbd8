"""`manage.py create_api_key`."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from queueapp.auth import authenticate
from queueapp.models import ApiKey


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("create_api_key", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
class TestTheCommand:
    def test_prints_the_key_alone(self) -> None:
        printed = run("ci", "--role", "producer")
        assert printed.endswith("\n")
        key = authenticate(printed.removesuffix("\n"))
        assert key is not None
        assert (key.name, key.role, key.task_globs) == ("ci", "producer", [])

    def test_takes_several_globs(self) -> None:
        run("w", "--role", "worker", "--tasks", "image.*", "tag", "--tasks", "collect")
        assert ApiKey.objects.get().task_globs == ["image.*", "tag", "collect"]

    @pytest.mark.parametrize(
        "arguments",
        [
            ("ci",),
            ("--role", "producer"),
            ("ci", "--role", "king"),
            ("", "--role", "producer"),
            ("ci", "--role", "worker", "--tasks"),
            ("ci", "--role", "worker", "--tasks", "a,b"),
        ],
    )
    def test_says_what_is_wrong(self, arguments: tuple[str, ...]) -> None:
        with pytest.raises(CommandError, match=r"\w"):
            run(*arguments)
        assert not ApiKey.objects.exists()
