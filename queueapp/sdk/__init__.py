"""The Python worker: handlers for tasks, and one outbound WebSocket that brings them. No Django in here."""

from queueapp.sdk.backoff import ReconnectBackoff
from queueapp.sdk.errors import Cancelled, HandlersHang, Refused, Reject, Retry
from queueapp.sdk.task import Task
from queueapp.sdk.worker import Worker

__all__ = ["Cancelled", "HandlersHang", "ReconnectBackoff", "Refused", "Reject", "Retry", "Task", "Worker"]
