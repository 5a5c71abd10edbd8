"""A whole worker without the SDK: `python examples/ten_lines.py ws://127.0.0.1:8000 wq_…` (needs websockets)."""

import json
import sys

from websockets.sync.client import connect

url, key = sys.argv[1:]
headers = {"Authorization": f"Bearer {key}"}
with connect(f"{url}/work/queue?task=upper&lang=en,de", additional_headers=headers) as socket:
    for frame in socket:
        task = json.loads(frame)
        result = {"task_id": task["task_id"], "result": "done", "data": str(task["data"]).upper()}
        socket.send(json.dumps(result))
