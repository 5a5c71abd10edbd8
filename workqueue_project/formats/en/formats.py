"""Times with their seconds, sortable by eye, in UTC (`TIME_ZONE`): operators compare them with logs."""

DATE_FORMAT = "Y-m-d"
TIME_FORMAT = "H:i:s"
DATETIME_FORMAT = r"Y-m-d H:i:s\Z"
