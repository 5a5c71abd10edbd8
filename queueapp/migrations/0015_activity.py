"""What sessions are given and report is noted in one row a batch."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("queueapp", "0014_operation_portion")]

    operations = [
        migrations.CreateModel(
            name="Activity",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("given", "Given"), ("done", "Done"), ("error", "Error"), ("stale", "Stale")],
                        max_length=5,
                    ),
                ),
                ("at", models.DateTimeField()),
                ("sessions", models.BinaryField()),
            ],
        ),
    ]
