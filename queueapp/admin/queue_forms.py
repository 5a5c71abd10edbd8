"""The forms of a queue: its settings, and why it is paused."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.helpers import ActionForm

from queueapp.admin.readonly import RowForm
from queueapp.domain.submission import MAX_ATTEMPTS, MAX_CONCURRENCY, MAX_SECONDS
from queueapp.models import Queue

NOTE_LENGTH = 1000


class QueueForm(RowForm[Queue]):
    """The defaults for what is submitted, within the bounds of a submission, and the limits.

    Changed is what differs from what the page showed, which comes along with the form, and not from the row: the
    page may be old, and what others did meanwhile is not to be undone by it.
    """

    concurrency = forms.IntegerField(
        min_value=1,
        max_value=MAX_CONCURRENCY,
        required=False,
        help_text="How many tasks of this queue are assigned at a time, over all workers. Empty: as many as"
        " workers take. Lowered, what is assigned goes on, and nothing is given out until there is room again.",
    )
    concurrency_per_key = forms.IntegerField(
        min_value=1,
        max_value=MAX_CONCURRENCY,
        required=False,
        help_text="How many of those with the same concurrency key. Empty: one. It holds for what waits already;"
        " what is assigned goes on.",
    )
    timeout_seconds = forms.FloatField(
        min_value=0.001,
        max_value=MAX_SECONDS,
        required=False,
        help_text="How long an attempt may go without a result or a sign of progress, for tasks that do not say."
        " Empty: 300. Tasks that were submitted before keep what they have.",
    )
    max_attempts = forms.IntegerField(
        min_value=1,
        max_value=MAX_ATTEMPTS,
        required=False,
        help_text="After how many attempts a task has failed, for tasks that do not say. Empty: 4. Those that a"
        " worker gave back do not count. Tasks that were submitted before keep what they have.",
    )
    spill_after_seconds = forms.FloatField(
        min_value=0,
        max_value=MAX_SECONDS,
        required=False,
        help_text="After so long a less specific worker may take a waiting task, for tasks that do not say. Empty:"
        " never. Tasks that were submitted before keep what they have.",
    )
    note = forms.CharField(
        max_length=NOTE_LENGTH,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "cols": 80}),
        help_text="For other operators. It is empty again once the queue is resumed.",
    )

    class Meta:
        model = Queue
        fields = (
            "concurrency",
            "concurrency_per_key",
            "timeout_seconds",
            "max_attempts",
            "spill_after_seconds",
            "note",
        )

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for field in self.fields.values():
            field.show_hidden_initial = True

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        for name in self.changed_data:
            shown, now = self._shown(name), self._now(name)
            if now not in (shown, _alike(self.cleaned_data.get(name, shown))):
                value = "empty" if now in (None, "") else now
                text = f"Changed meanwhile: it is {value} now. Saved once more, this takes its place."
                self.add_error(name, text)
        return cleaned

    def full_clean(self) -> None:
        super().full_clean()
        if self.is_bound and self.errors:
            self._show_anew()

    def changes(self) -> dict[str, Any]:
        """What is to be written, of a form that is valid."""
        values = {name: self.cleaned_data[name] for name in self.changed_data}
        return {name: value for name, value in values.items() if _alike(value) != self._now(name)}

    def _now(self, name: str) -> Any:
        return _alike(self.fields[name].to_python(self.initial[name]))

    def _shown(self, name: str) -> Any:
        field = self.fields[name]
        sent = field.hidden_widget().value_from_datadict(self.data, self.files, self.add_initial_prefix(name))
        try:
            return _alike(field.to_python(sent))
        except forms.ValidationError:
            return object()  # no page of ours showed that

    def _show_anew(self) -> None:
        """As the row is now, but for what was typed: sent once more, it is a choice."""
        data = {name: self.data.get(name) for name in self.data}
        for name in self.fields:
            value = self.initial[name]
            data[self.add_initial_prefix(name)] = text = "" if value is None else str(value)
            if name not in self.changed_data:
                data[self.add_prefix(name)] = text
        self.data = data


class PauseBar(ActionForm):
    """The action bar of the list, with room to say why a queue is paused."""

    note = forms.CharField(max_length=NOTE_LENGTH, required=False, label="Note:")


class PauseForm(forms.Form):
    note = forms.CharField(
        max_length=NOTE_LENGTH,
        required=False,
        label="Why",
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60}),
        help_text="Operators read it on the overview and here, producers where they ask why their task waits.",
    )


def _alike(value: Any) -> Any:
    """Browsers send the ends of lines as they like."""
    return value.replace("\r\n", "\n") if isinstance(value, str) else value
