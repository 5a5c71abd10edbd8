"""What the races share: who listens to the doorbell while they run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from queueapp import doorbell
from queueapp.doorbell import Ring
from tests.integration.fleet import Fleet


@pytest.fixture
def heard() -> Iterator[list[Ring]]:
    """The rings of all parties, in the order in which they were delivered."""
    rings: list[Ring] = []
    unlisten = doorbell.listen(rings.append)
    yield rings
    unlisten()


@pytest.fixture
def here() -> Iterator[Fleet]:
    """A server process."""
    fleet = Fleet()
    yield fleet
    fleet.unlisten()


@pytest.fixture
def there() -> Iterator[Fleet]:
    """Another one, over the same rows."""
    fleet = Fleet()
    yield fleet
    fleet.unlisten()
