"""For the tests of those who write workers: handlers without a server, and a server in the process."""

from queueapp.sdk.testing.local_server import LocalServer
from queueapp.sdk.testing.local_task import LocalTask
from queueapp.sdk.testing.performance import Performance, perform, perform_async

__all__ = ["LocalServer", "LocalTask", "Performance", "perform", "perform_async"]
