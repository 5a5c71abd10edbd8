"""The page for implementers: its frames are valid, its rules are stories that are played."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from queueapp import schemas
from queueapp.conformance.cli import SERVER_STORIES, WORKER_STORIES
from queueapp.protocol import FATAL_CLOSE_CODES, CloseCode

PAGE = (Path(__file__).resolve().parents[2] / "docs/worker-protocol.md").read_text()
EXAMPLES = re.findall(r"^```json (\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SCHEMAS = {
    "server": schemas.documents()["server-to-worker.schema.json"],
    "worker": schemas.documents()["worker-to-server.schema.json"],
    "registration": schemas.registration_schema(),
    "auth": schemas.auth_schema(),
}


@pytest.mark.parametrize(("side", "text"), EXAMPLES)
def test_every_frame_is_valid(side, text):
    jsonschema.Draft202012Validator(SCHEMAS[side]).validate(json.loads(text))


def test_every_kind_of_message_is_shown():
    contents = [json.loads(text) for _, text in EXAMPLES]
    messages = [each for content in contents for each in (content if isinstance(content, list) else [content])]
    shown = {message.get("kind") or message.get("result") for message in messages} - {None}
    assert shown == {*schemas.server_message_schemas(), *schemas.worker_message_schemas(), "auth"}


def test_every_block_is_one_that_is_looked_at():
    blocks = re.findall(r"^```(.+)$", PAGE, re.MULTILINE)
    assert len(blocks) == len(EXAMPLES) + blocks.count("mermaid") + blocks.count("sh")


def test_every_rule_in_brackets_is_a_story():
    named = {
        name for group in re.findall(r"\((`[a-z-]+`(?:,\s+`[a-z-]+`)*)\)", PAGE) for name in group.split("`")[1::2]
    }
    assert named
    assert named <= {story.name for story in SERVER_STORIES + WORKER_STORIES}


def test_the_table_of_close_codes_says_which_are_final():
    rows = re.findall(r"^\| ([\d, ]+) \| .* \| (.+) \|$", PAGE, re.MULTILINE)
    said = {int(code): "MUST NOT" in then for codes, then in rows for code in codes.split(",")}
    assert said == {int(code): code in FATAL_CLOSE_CODES for code in CloseCode}
