"""The roles of admin users, as Django's groups: who may only look, who steers, who gives access to others.

They are made once: with the migration that brings the audit log, on a new installation and on an old one. What an
administrator makes of a group afterwards stays, and so does a group of the same name that was there before; one
that is deleted does not come back. A later version that brings further permissions gives these, when they come
into being and never again, to the groups that may view the audit log: those that were made here may, and what was
made for another purpose may not, whatever its name.
"""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.apps import apps as all_apps
from django.contrib.auth.management import create_permissions

VIEWER, OPERATOR, ADMINISTRATOR = ROLES = ("Viewer", "Operator", "Administrator")

BEGINNING = "view_auditentry"
"""The permission that came into being together with the roles, and by which one of them is known."""

STEERING = frozenset({"change_task", "change_workersession", "change_queue", "add_operation", "change_operation"})
GIVING_ACCESS = frozenset(
    {"add_apikey", "change_apikey"}
    | {f"{verb}_{model}" for verb in ("view", "add", "change", "delete") for model in ("user", "group")}
)
"""Who may change users may make them anything, itself included: that is what the role is for."""


def includes(role: str, permission: Any) -> bool:
    """Whether the role has the permission, one of the queue's or of the users'."""
    codename = permission.codename
    if role == ADMINISTRATOR:
        return codename in GIVING_ACCESS or includes(OPERATOR, permission)
    if role == OPERATOR:
        return codename in STEERING or includes(VIEWER, permission)
    return codename.startswith("view_") and permission.content_type.app_label == "queueapp"


def make(sender: AppConfig, using: str, apps: Any = all_apps, **signal: Any) -> None:
    """After a migration: the groups, if they are due, and what the new permissions are for."""
    try:
        groups = apps.get_model("auth", "Group").objects.using(using)
        permissions = apps.get_model("auth", "Permission").objects.using(using).select_related("content_type")
    except LookupError:  # the tables of users come later
        return
    ours = permissions.filter(content_type__app_label=sender.label)
    before = set(ours.values_list("pk", flat=True))
    for label in (sender.label, "auth"):
        create_permissions(all_apps.get_app_config(label), verbosity=0, using=using, apps=apps)
    new = list(ours.exclude(pk__in=before))
    if not new:
        return
    there = groups.filter(name__in=ROLES)
    if any(permission.codename == BEGINNING for permission in new):
        given = list(permissions.filter(content_type__app_label__in=[sender.label, "auth"]))
        taken = set(there.values_list("name", flat=True))
        receiving = [groups.create(name=role) for role in ROLES if role not in taken]
    else:
        ours_by = {"permissions__codename": BEGINNING, "permissions__content_type__app_label": sender.label}
        given, receiving = new, list(there.filter(**ours_by))
    for group in receiving:
        group.permissions.add(*(permission for permission in given if includes(group.name, permission)))
