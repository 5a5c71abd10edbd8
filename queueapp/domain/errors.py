"""The errors that callers are meant to see. Each docstring is the message's meaning; data are attributes."""

from __future__ import annotations

from collections.abc import Sequence


class WorkQueueError(Exception):
    """The root of every error that the queue raises on purpose."""


class InvalidJson(WorkQueueError):
    """A JSON text or value cannot be stored. The reason says what is wrong with it, and stands behind a colon."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FieldError(WorkQueueError):
    """One member of a document is wrong. `pointer` is a JSON pointer (RFC 6901) to it."""

    def __init__(self, pointer: str, message: str, index: int | None = None) -> None:
        super().__init__(f"{pointer}: {message}" if pointer else message)
        self.pointer = pointer
        self.message = message
        self.index = index

    @classmethod
    def at(cls, member: str, message: str) -> FieldError:
        """Of the member with that name, at the top of a document."""
        return cls("/" + member.replace("~", "~0").replace("/", "~1"), message)


class InvalidSubmission(WorkQueueError):
    """A submission was refused as a whole; `errors` names every wrong field. Nothing was stored."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(str(error) for error in errors))
        self.errors = tuple(errors)


class InvalidFilter(WorkQueueError):
    """A filter cannot be used; `errors` names every wrong member. Nothing was done."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(str(error) for error in errors))
        self.errors = tuple(errors)


class TooManySubmissions(WorkQueueError):
    """A bulk submission holds more tasks than the limit. Nothing was stored."""

    def __init__(self, limit: int, count: int) -> None:
        super().__init__(f"An array holds at most {limit} tasks, and this one {count}.")
        self.limit = limit
        self.count = count


class RegistrationError(WorkQueueError):
    """A worker's parameters or registration cannot be used; the reason says which (close code 4400)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StateForbids(WorkQueueError):
    """The task's state does not allow the verb; nothing was changed."""

    def __init__(self, verb: str, state: str) -> None:
        super().__init__(f"A task that is {state} cannot be {verb}.")
        self.verb = verb
        self.state = state


class RequestInFlight(WorkQueueError):
    """A request with the same idempotency key is being carried out: ask again for its answer. Nothing was done."""

    def __init__(self) -> None:
        super().__init__(
            "A request with this Idempotency-Key is being carried out. Send this one again for its answer."
        )


class IdempotencyKeyReused(WorkQueueError):
    """The idempotency key was used before, with another body. Nothing was done."""

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key came before with another body: a new submission needs a new key.")


class NotFound(WorkQueueError):
    """No such row, or none that the caller may see."""


class NotAuthenticated(WorkQueueError):
    """No credential, or one that is wrong, expired or revoked (401; close code 4401)."""


class Forbidden(WorkQueueError):
    """The credential is good, and does not reach so far: the wrong role or task name (403; close code 4403)."""


class NodeStopped(WorkQueueError):
    """Other processes have taken this one for dead and given its workers' tasks away."""
