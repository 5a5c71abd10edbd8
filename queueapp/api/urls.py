"""The paths under `/api/v1/`."""

from django.urls import path, re_path

from queueapp.api import callbacks, events, explain, operations, queues, task_requests, tasks, workers
from queueapp.api.base import UnknownPath
from queueapp.api.schema import serving

app_name = "api"

urlpatterns = [
    path("tasks", task_requests.task_list, name="tasks"),
    path("tasks/cancel", operations.CancelTasks.as_view(), name="cancel-tasks"),
    path("tasks/retry", operations.RetryTasks.as_view(), name="retry-tasks"),
    path("tasks/<uuid:task_id>", task_requests.task_detail, name="task"),
    path("tasks/<uuid:task_id>/attempts", tasks.AttemptList.as_view(), name="attempts"),
    path("tasks/<uuid:task_id>/explain", explain.ExplainTask.as_view(), name="explain-task"),
    path("route", explain.Route.as_view(), name="route"),
    path("tasks/<uuid:task_id>/callbacks", callbacks.CallbackList.as_view(), name="callbacks"),
    path("tasks/<uuid:task_id>/events", events.task_events, name="events"),
    path("tasks/<uuid:task_id>/cancel", tasks.CancelTask.as_view(), name="cancel-task"),
    path("tasks/<uuid:task_id>/retry", tasks.RetryTask.as_view(), name="retry-task"),
    path("operations", operations.OperationList.as_view(), name="operations"),
    path("operations/<uuid:operation_id>", operations.OperationDetail.as_view(), name="operation"),
    path("operations/<uuid:operation_id>/stop", operations.StopOperation.as_view(), name="stop-operation"),
    path("workers", workers.WorkerList.as_view(), name="workers"),
    path("workers/<uuid:session_id>", workers.WorkerDetail.as_view(), name="worker"),
    path("workers/<uuid:session_id>/drain", workers.DrainWorker.as_view(), name="drain-worker"),
    path("workers/<uuid:session_id>/disconnect", workers.DisconnectWorker.as_view(), name="disconnect-worker"),
    path("queues", queues.QueueList.as_view(), name="queues"),
    path("queues/<str:name>", queues.QueueDetail.as_view(), name="queue"),
    path("queues/<str:name>/pause", queues.PauseQueue.as_view(), name="pause-queue"),
    path("queues/<str:name>/resume", queues.ResumeQueue.as_view(), name="resume-queue"),
    path("schema", serving.SchemaDocument.as_view(), name="schema"),
    path("docs", serving.docs, name="docs"),
    re_path("", UnknownPath.as_view()),
]
