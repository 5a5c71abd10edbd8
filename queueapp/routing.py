"""The WebSocket routes. Workers bring a credential; operators a session, which a browser sends along whatever page
asks, so that theirs is open to our own pages only."""

from typing import Any, cast

from channels.auth import AuthMiddlewareStack
from channels.security.websocket import AllowedHostsOriginValidator
from django.urls import path, re_path

from queueapp.api import nowhere
from queueapp.consumers import WorkerConsumer
from queueapp.operators import OperatorConsumer

websocket_urlpatterns = [
    path("work/queue", WorkerConsumer.as_asgi()),
    path("work/operators", AllowedHostsOriginValidator(AuthMiddlewareStack(OperatorConsumer.as_asgi()))),
    re_path("", cast(Any, nowhere.refuse)),
]
