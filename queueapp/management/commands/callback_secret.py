"""`manage.py callback_secret`: prints what callbacks are signed with."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from queueapp.domain.webhooks import secret_text
from queueapp.letters import signing_secrets


class Command(BaseCommand):
    help = "Print the secrets that callbacks are signed with, one a line, for their receivers to check signatures."

    def handle(self, *args: Any, **options: Any) -> None:
        for secret in signing_secrets():
            self.stdout.write(secret_text(secret))
