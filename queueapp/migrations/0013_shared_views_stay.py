"""A shared view stays when the user is deleted who saved it."""

from django.conf import settings
from django.db import migrations, models

import queueapp.models.views


class Migration(migrations.Migration):
    dependencies = [
        ("queueapp", "0012_queues_keys"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name="savedview",
            name="owner",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=queueapp.models.views.shared_views_stay,
                related_name="task_views",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
    ]
