"""Passwords of those who log in, and the forms that set them."""

from __future__ import annotations

from django.urls import reverse

PASSWORD = "a-very-long-one"
NEW_PASSWORD = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
"""For somebody else."""


def password_url(user_id: int) -> str:
    return reverse("admin:auth_user_password_change", args=[user_id])


def own_password(before: str) -> dict[str, str]:
    return {"old_password": before, "new_password1": PASSWORD, "new_password2": PASSWORD}
