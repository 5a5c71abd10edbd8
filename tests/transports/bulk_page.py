"""The page on which operators change many tasks at once."""

from __future__ import annotations

import json
from typing import Any

from django.test import Client

BULK = "/admin/bulk/"


def confirm(client: Client, action: str, document: Any, **fields: Any) -> Any:
    text = document if isinstance(document, str) else json.dumps(document)
    return client.post(BULK, {"action": action, "filter": text, **fields})
