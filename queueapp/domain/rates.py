"""How often something may be done: a rate, and the bucket that holds to it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

_RATE = re.compile(r"([1-9][0-9]{0,8})/([smh])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Rate:
    """`1000/s`: so many a second, a minute (`m`) or an hour (`h`); empty: any number. ValueError otherwise."""

    text: str = ""
    number: int = field(init=False, default=0)
    seconds: float = field(init=False, default=1.0)

    def __post_init__(self) -> None:
        if self.text:
            match = _RATE.fullmatch(self.text)
            if match is None:
                raise ValueError(f"{self.text!r} does not look like 1000/s, 1000/m or 1000/h")
            object.__setattr__(self, "number", int(match[1]))
            object.__setattr__(self, "seconds", _SECONDS[match[2]])

    def __bool__(self) -> bool:
        return self.number > 0


UNLIMITED = Rate()


@dataclass(slots=True)
class Bucket:
    """What is left of a rate, refilled as time passes: at rest, the whole number at once."""

    left: float
    at: float

    def take(self, rate: Rate, now: float) -> int:
        """Take one, at `now` seconds. 0, or in how many whole seconds there will be one."""
        a_second = rate.number / rate.seconds
        self.left = min(float(rate.number), self.left + max(0.0, now - self.at) * a_second)
        self.at = now
        if self.left >= 1.0:
            self.left -= 1.0
            return 0
        return max(1, math.ceil((1.0 - self.left) / a_second))
