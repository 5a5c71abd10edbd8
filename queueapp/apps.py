"""The Django application."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class QueueAppConfig(AppConfig):
    name = "queueapp"
    verbose_name = "Work queue"

    def ready(self) -> None:
        from queueapp import checks  # noqa: F401 - registers them


class OperatorAdminConfig(AdminConfig):
    """Django's admin, on our own site."""

    default_site = "queueapp.site.OperatorSite"
