"""The composition root: HTTP to Django, WebSockets to the consumers."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "workqueue_project.settings")
django_application = get_asgi_application()

from queueapp.routing import websocket_urlpatterns  # noqa: E402 - models can be imported only now

application = ProtocolTypeRouter({"http": django_application, "websocket": URLRouter(websocket_urlpatterns)})
