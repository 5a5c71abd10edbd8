"""Every HTTP path of the project."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from queueapp.api.base import UnknownPath
from queueapp.api.health import healthz, readyz
from queueapp.api.metrics import Metrics
from queueapp.api.worklist import WorkList

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
    path("api/v1/", include("queueapp.api.urls")),
    re_path("^api/", UnknownPath.as_view()),
    path("work/list", WorkList.as_view(), name="work-list"),
    re_path("^work/", UnknownPath.as_view()),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", Metrics.as_view(), name="metrics"),
]

handler400 = "queueapp.api.problems.bad_request"
handler500 = "queueapp.api.problems.server_error"
