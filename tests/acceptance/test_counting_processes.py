"""What several processes counted, after they have ended in order and in their place others have begun."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from processes import Server, cluster

COUNTED = (
    "import json; from django.db.models import Sum; from queueapp.models import Rollup; "
    "rows = Rollup.objects.filter(interval_seconds=3600); "
    "print(json.dumps([rows.aggregate(n=Sum('submitted'))['n'], rows.values('node').distinct().count()]))"
)


@pytest.mark.only_on("postgresql", reason="on SQLite there is one process")
async def test_what_each_process_counted_is_there_once(prepared: Server, tmp_path: Path):
    with cluster(prepared, tmp_path, 2) as servers:
        for number, server in enumerate(servers, start=1):
            await server.submit(*[{"name": "tag"}] * number)
        first, second = servers
        assert first.terminate() == 0
        first.start()
        await first.submit(*[{"name": "tag"}] * 4)
        assert [first.terminate(), second.terminate()] == [0, 0]
        said = first.manage("shell", "-v", "0", "-c", COUNTED)
    assert json.loads(said.splitlines()[-1]) == [7, 3]
