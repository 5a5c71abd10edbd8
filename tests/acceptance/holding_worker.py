"""A worker as a program that takes tasks and ends none: `holding_worker.py URL`, its key in WORKQUEUE_TOKEN.

It writes each frame to its standard output, and ends with its connection.
"""

from __future__ import annotations

import os
import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def main() -> None:
    headers = {"Authorization": f"Bearer {os.environ['WORKQUEUE_TOKEN']}"}
    with connect(sys.argv[1], additional_headers=headers, open_timeout=60) as socket:
        try:
            for frame in socket:
                print(frame, flush=True)
        except ConnectionClosed:
            return


if __name__ == "__main__":
    main()
