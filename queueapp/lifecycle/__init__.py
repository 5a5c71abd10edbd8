"""THE owner of task state: one verb an edge, each guarded, over as many tasks as are at hand.

Whoever wants a task to change calls a verb here. A write is conditional on what its author believed (state,
holder, attempt); who lost a race changes nothing and is told so. News leaves through `doorbell`, after commit.
"""

from queueapp.lifecycle.assigning import Assigned, Choice, WorkersChanged, assign, data_unless_large
from queueapp.lifecycle.ending import held, lock, release, rescue, time_out
from queueapp.lifecycle.finishing import Report, Verdict, finish
from queueapp.lifecycle.keys import mark, note_waiting_keys
from queueapp.lifecycle.pruning import prune
from queueapp.lifecycle.steering import SignOfLife, cancel, expire, prioritise, prolong, promote, retry
from queueapp.lifecycle.submitting import Receipt, submit

__all__ = [
    "Assigned",
    "Choice",
    "Receipt",
    "Report",
    "SignOfLife",
    "Verdict",
    "WorkersChanged",
    "assign",
    "cancel",
    "data_unless_large",
    "expire",
    "finish",
    "held",
    "lock",
    "mark",
    "note_waiting_keys",
    "prioritise",
    "prolong",
    "promote",
    "prune",
    "release",
    "rescue",
    "retry",
    "submit",
    "time_out",
]
