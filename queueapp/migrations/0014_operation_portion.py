"""An operation remembers how many tasks a step of it may look at. The column may be null: no row is rewritten."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("queueapp", "0013_shared_views_stay"),
    ]

    operations = [
        migrations.AddField(
            model_name="operation",
            name="portion",
            field=models.PositiveIntegerField(null=True),
        ),
    ]
