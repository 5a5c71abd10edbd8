"""Named views of the task list, and the indexes with which tasks are found in it."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import queueapp.models.fields


class Migration(migrations.Migration):
    dependencies = [
        ("queueapp", "0008_audit"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="SavedView",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=queueapp.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=60)),
                ("text", models.TextField()),
                ("shared", models.BooleanField(default=False)),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="task_views",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("shared", False)),
                        fields=("owner", "name"),
                        name="saved_view_name_once_an_owner",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("shared", True)), fields=("name",), name="saved_view_name_once_shared"
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(("state__in", ["failed", "cancelled", "expired"])),
                fields=["id", "state"],
                name="task_unsuccessful",
            ),
        ),
        migrations.AddIndex(
            model_name="workersession",
            index=models.Index(
                condition=models.Q(("name", ""), _negated=True), fields=["name"], name="session_name"
            ),
        ),
    ]
