"""The Django application."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.db.models.signals import post_migrate


class QueueAppConfig(AppConfig):
    name = "queueapp"
    verbose_name = "Work queue"

    def ready(self) -> None:
        from queueapp import checks, roles  # noqa: F401 - registers the checks

        post_migrate.connect(roles.make, sender=self)


class OperatorAdminConfig(AdminConfig):
    """Django's admin, on our own site."""

    default_site = "queueapp.site.OperatorSite"
