"""What operators see and steer in the Django admin: one module a noun, each change by a verb of the queue's."""

from queueapp.admin import attempts, audit, deliveries, keys, nodes, operations, people, queues, tasks, workers

__all__ = [
    "attempts",
    "audit",
    "deliveries",
    "keys",
    "nodes",
    "operations",
    "people",
    "queues",
    "tasks",
    "workers",
]
