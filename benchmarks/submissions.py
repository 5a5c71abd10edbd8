"""The small task that all sections submit."""

from __future__ import annotations

from typing import Any

ACCOUNTS = 10
"""So many routes a task name has."""


def submission(number: int, name: str = "bench") -> dict[str, Any]:
    return {"name": name, "attrs": {"cloud": "aws", "account": str(number % ACCOUNTS)}, "data": {"n": number}}
