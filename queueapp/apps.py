"""The Django application."""

from django.apps import AppConfig


class QueueAppConfig(AppConfig):
    name = "queueapp"
    verbose_name = "Work queue"

    def ready(self) -> None:
        from queueapp import checks  # noqa: F401 - registers them
