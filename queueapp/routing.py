"""The WebSocket routes."""

from django.urls import path

from queueapp.consumers import WorkerConsumer

websocket_urlpatterns = [path("work/queue", WorkerConsumer.as_asgi())]
