#!/usr/bin/env python
"""Django's command line for the work queue."""

import os
import sys

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "workqueue_project.settings")
    try:
        settings.INSTALLED_APPS  # noqa: B018 - loads the settings
    except ImproperlyConfigured as problem:
        # It says which setting is wrong; where that was noticed helps nobody to mend it.
        sys.exit(str(problem))
    execute_from_command_line(sys.argv)
