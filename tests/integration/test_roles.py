"""The groups for operators: there on every installation, and an administrator's to change."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command

from queueapp import roles

pytestmark = pytest.mark.django_db

VIEWS = {f"view_{model._meta.model_name}" for model in apps.get_app_config("queueapp").get_models()}


def permissions_of(name: str) -> set[str]:
    return set(Group.objects.get(name=name).permissions.values_list("codename", flat=True))


def migrate() -> None:
    call_command("migrate", verbosity=0)


def begin_again() -> None:
    """As before the migration that brings the roles."""
    Group.objects.all().delete()
    Permission.objects.filter(codename=roles.BEGINNING).delete()


class TestTheRoles:
    def test_a_viewer_may_view_all_that_is_the_queues(self):
        assert permissions_of("Viewer") == VIEWS

    def test_an_operator_steers_but_gives_no_access(self):
        assert permissions_of("Operator") == VIEWS | {
            "change_task",
            "change_workersession",
            "change_queue",
            "add_operation",
            "change_operation",
        }

    def test_an_administrator_gives_access(self):
        more = permissions_of("Administrator") - permissions_of("Operator")
        people = {f"{verb}_{kind}" for verb in ("view", "add", "change", "delete") for kind in ("user", "group")}
        assert more == {"add_apikey", "change_apikey"} | people

    def test_nobody_may_touch_the_log(self):
        touching = {"add_auditentry", "change_auditentry", "delete_auditentry"}
        assert not touching & (permissions_of("Administrator") | permissions_of("Operator"))


class TestAfterAnotherMigration:
    def test_what_an_administrator_made_of_a_group_stays(self):
        group = Group.objects.get(name="Operator")
        group.permissions.remove(Permission.objects.get(codename="change_task"))
        group.permissions.add(Permission.objects.get(codename="change_apikey"))
        before = permissions_of("Operator")
        migrate()
        assert permissions_of("Operator") == before

    def test_a_group_that_was_deleted_does_not_come_back(self):
        Group.objects.get(name="Viewer").delete()
        migrate()
        assert not Group.objects.filter(name="Viewer").exists()

    def test_a_permission_that_comes_into_being_is_given_to_the_groups_that_it_is_for(self):
        Permission.objects.filter(codename__in=["view_rollup", "change_queue", "delete_task"]).delete()
        migrate()
        assert "view_rollup" in permissions_of("Viewer")
        assert "change_queue" not in permissions_of("Viewer")
        assert {"view_rollup", "change_queue"} <= permissions_of("Operator")
        assert "delete_task" not in permissions_of("Administrator")

    def test_a_group_of_that_name_that_was_made_for_another_purpose_is_given_nothing(self):
        begin_again()
        Group.objects.create(name="Operator").permissions.add(Permission.objects.get(codename="view_group"))
        migrate()
        Permission.objects.filter(codename__in=["view_rollup", "change_queue"]).delete()
        migrate()
        assert permissions_of("Operator") == {"view_group"}
        assert {"view_rollup", "change_queue"} <= permissions_of("Administrator")


class TestWhenTheRolesAreBrought:
    def test_the_groups_are_made(self):
        begin_again()
        migrate()
        assert "change_task" in permissions_of("Operator")
        assert "add_user" in permissions_of("Administrator")
        assert permissions_of("Viewer") == VIEWS

    def test_a_group_of_that_name_is_left_as_it_is(self):
        begin_again()
        Group.objects.create(name="Operator")
        migrate()
        assert permissions_of("Operator") == set()
        assert permissions_of("Viewer") == VIEWS
