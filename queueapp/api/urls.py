"""The paths under `/api/v1/`."""

from django.urls import path, re_path

from queueapp.api import callbacks, events, queues, tasks, workers
from queueapp.api.base import UnknownPath

app_name = "api"

urlpatterns = [
    path("tasks", tasks.task_list, name="tasks"),
    path("tasks/<uuid:task_id>", tasks.task_detail, name="task"),
    path("tasks/<uuid:task_id>/attempts", tasks.AttemptList.as_view(), name="attempts"),
    path("tasks/<uuid:task_id>/callbacks", callbacks.CallbackList.as_view(), name="callbacks"),
    path("tasks/<uuid:task_id>/events", events.task_events, name="events"),
    path("tasks/<uuid:task_id>/cancel", tasks.CancelTask.as_view(), name="cancel-task"),
    path("tasks/<uuid:task_id>/retry", tasks.RetryTask.as_view(), name="retry-task"),
    path("workers", workers.WorkerList.as_view(), name="workers"),
    path("workers/<uuid:session_id>", workers.WorkerDetail.as_view(), name="worker"),
    path("workers/<uuid:session_id>/drain", workers.DrainWorker.as_view(), name="drain-worker"),
    path("workers/<uuid:session_id>/disconnect", workers.DisconnectWorker.as_view(), name="disconnect-worker"),
    path("queues", queues.QueueList.as_view(), name="queues"),
    path("queues/<str:name>", queues.QueueDetail.as_view(), name="queue"),
    path("queues/<str:name>/pause", queues.PauseQueue.as_view(), name="pause-queue"),
    path("queues/<str:name>/resume", queues.ResumeQueue.as_view(), name="resume-queue"),
    re_path("", UnknownPath.as_view()),
]
