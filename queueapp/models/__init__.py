"""The rows of the queue, with the invariants that the database itself holds.

Nothing here changes state: tasks are changed by `lifecycle`, sessions and nodes by `sessions`.
Foreign keys to hot rows (worker, route, key) carry no database constraint: the check would lock the parent.
"""

from queueapp.models.audit import AuditEntry
from queueapp.models.fields import NAME_LENGTH, new_id
from queueapp.models.keys import ApiKey
from queueapp.models.queues import Queue, Route
from queueapp.models.requests import Delivery, IdempotentRequest, Operation
from queueapp.models.rollups import QueueRollup, Rollup
from queueapp.models.sessions import Activity, Node, Subscription, WorkerSession
from queueapp.models.tasks import Attempt, ChangedKey, Task
from queueapp.models.views import SavedView

__all__ = [
    "NAME_LENGTH",
    "Activity",
    "ApiKey",
    "Attempt",
    "AuditEntry",
    "ChangedKey",
    "Delivery",
    "IdempotentRequest",
    "Node",
    "Operation",
    "Queue",
    "QueueRollup",
    "Rollup",
    "Route",
    "SavedView",
    "Subscription",
    "Task",
    "WorkerSession",
    "new_id",
]
