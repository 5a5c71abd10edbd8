import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('queueapp', '0011_workers'),
    ]

    operations = [
        migrations.CreateModel(
            name='QueueRollup',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=200)),
                ('begins_at', models.DateTimeField()),
                ('submitted', models.PositiveBigIntegerField()),
                ('finished', models.PositiveBigIntegerField()),
                ('failed', models.PositiveBigIntegerField()),
                ('node', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='queueapp.node')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('name', 'begins_at', 'node'), name='queue_rollup_once_a_minute_and_node')],
            },
        ),
        migrations.AddField(
            model_name='apikey',
            name='created_by',
            field=models.CharField(blank=True, default='', editable=False, max_length=200),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('state', 'pending')), fields=['id'], name='delivery_owed'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('state', 'failed')), fields=['id'], name='delivery_given_up'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['host', 'id'], name='delivery_of_host'),
        ),
    ]
