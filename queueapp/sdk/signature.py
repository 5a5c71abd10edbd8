"""How a handler wants to be called: with the task, with its payload as a typed object, or with both."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import msgspec

from queueapp.sdk.errors import Reject
from queueapp.sdk.payload import decoder, name_of
from queueapp.sdk.task import Task

PLACES = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def taking_a_task(function: Callable[..., Any]) -> Callable[[Task], Any]:
    """The function as one of a task. Of its one or two parameters that which is annotated as Task, or is alone and
    not annotated, takes the task; the other one takes the payload, as its annotation says.

    ValueError when that cannot be done.
    """
    label = label_of(function)
    places = [each for each in inspect.signature(function).parameters.values() if _must_be_given(each)]
    match [_annotation(function, each) for each in places]:
        case [wanted] if wanted in (Task, Any, inspect.Parameter.empty):
            return function
        case [wanted]:
            read = _reader(label, wanted)
            return lambda task: function(read(task))
        case [wanted, other] if other is Task and wanted is not Task:
            read = _reader(label, wanted)
            return lambda task: function(read(task), task)
        case [other, wanted] if other is Task and wanted is not Task:
            read = _reader(label, wanted)
            return lambda task: function(task, read(task))
    raise ValueError(f"{label} takes neither a task nor a payload, nor both with the Task annotated as such.")


def label_of(function: Callable[..., Any]) -> str:
    return getattr(_definition(function), "__qualname__", type(function).__name__)


def _reader(label: str, wanted: Any) -> Callable[[Task], Any]:
    if wanted is inspect.Parameter.empty:
        raise ValueError(f"{label} takes a payload without an annotation that says which.")
    try:
        read = decoder(wanted)
    except ValueError as problem:
        raise ValueError(f"{label}: {problem}") from None

    def payload(task: Task) -> Any:
        try:
            return read(task.payload)
        except msgspec.ValidationError as problem:
            raise Reject(f"The payload is no {name_of(wanted)}: {problem}") from None

    return payload


def _must_be_given(parameter: inspect.Parameter) -> bool:
    return parameter.kind in PLACES and parameter.default is inspect.Parameter.empty


def _annotation(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Evaluated where the function was written; those of other parameters and of the result may be for type
    checkers alone."""
    text = parameter.annotation
    if not isinstance(text, str):
        return text
    try:
        return eval(text, getattr(_definition(function), "__globals__", {}))
    except NameError as problem:
        if text == Task.__name__:
            return Task
        label = label_of(function)
        raise ValueError(f"{label} takes {text}, which is not defined in its module: {problem}.") from None


def _definition(function: Callable[..., Any]) -> Any:
    """Where the annotations were written."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if inspect.isroutine(function):
        return getattr(function, "__func__", function)
    return type(function).__call__
