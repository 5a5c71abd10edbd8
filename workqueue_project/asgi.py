"""The composition root: HTTP to Django, WebSockets to the consumers."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "workqueue_project.settings")
django_application = get_asgi_application()

# Models can be imported only now.
from queueapp.api.bodylimit import within_the_body_limit  # noqa: E402
from queueapp.api.cors import with_cors  # noqa: E402
from queueapp.api.counting import with_requests_counted  # noqa: E402
from queueapp.api.handler import with_keys_apart  # noqa: E402
from queueapp.conf import config  # noqa: E402
from queueapp.routing import websocket_urlpatterns  # noqa: E402

origins = [origin.strip() for origin in config().cors_origins.split(",") if origin.strip()]
application = ProtocolTypeRouter(
    {
        "http": with_requests_counted(
            with_cors(within_the_body_limit(with_keys_apart(django_application)), origins)
        ),
        "websocket": URLRouter(websocket_urlpatterns),
    }
)
