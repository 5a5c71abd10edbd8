"""Tags cloud resources: `apply_tags` does the work, the workers below offer it to the queue.

A resource is `{"id", "cloud", "account", "region", "type", "tags", "tag_update"}`, a line of `inventory.jsonl`.
Its `tag_update` says what is to become of the tags: `{"aliases": {key: key}, "remove": [glob],
"set": {key: value}, "derive": [{"key", "value", "when": {field: value}}]}`; of the rules to derive a tag that is
missing, the first that fits does.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from queueapp.sdk import Reject, Task, Worker

Tags = dict[str, str]

AWS_MAX_TAGS = 50
AWS_KEY_LENGTH = 128
AWS_VALUE_LENGTH = 256
AWS_RESERVED_PREFIX = "aws:"
AWS_TEXT = re.compile(r"[\w\s+\-=.:/@]*")
GCP_MAX_LABELS = 64
GCP_LABEL_LENGTH = 63
GCP_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
GCP_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
EVIDENCE_ROUNDS = 80_000


class InvalidTags(ValueError):
    """The tags that an update leads to are not ones that the resource's cloud accepts."""


def apply_tags(resource: Mapping[str, Any]) -> dict[str, Any]:
    """The resource with its update applied: keys normalised, aliases joined, deprecated tags removed, new
    ones set and missing ones derived. The input is left as it is. Raises InvalidTags."""
    update: Mapping[str, Any] = resource.get("tag_update", {})
    reserved = {key: value for key, value in resource["tags"].items() if _is_reserved(key, resource)}
    tags = _normalised(resource["tags"], update.get("aliases", {}), resource)
    tags = {key: value for key, value in tags.items() if not _is_removed(key, update.get("remove", []))}
    tags.update({_normal_key(key): value for key, value in update.get("set", {}).items()})
    for rule in update.get("derive", []):
        if rule["key"] not in tags and all(resource[field] == value for field, value in rule["when"].items()):
            tags[rule["key"]] = rule["value"]
    tagged = _for_cloud(resource["cloud"], tags) | reserved
    kept = {field: value for field, value in resource.items() if field != "tag_update"}
    return {**kept, "tags": dict(sorted(tagged.items()))}


def evidence(resource: Mapping[str, Any]) -> str:
    """A fingerprint of a tagged resource, hex, that cannot be forged in bulk: PBKDF2 over its JSON, salted
    with its id. An auditor who has the resource can repeat it."""
    text = json.dumps(resource, sort_keys=True, ensure_ascii=False)
    salt = str(resource["id"]).encode()
    return hashlib.pbkdf2_hmac("sha256", text.encode(), salt, EVIDENCE_ROUNDS).hex()


def tagged_with_evidence(resource: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a `tag` task."""
    tagged = apply_tags(resource)
    return {**tagged, "evidence": evidence(tagged)}


# ---- the steps


def _normal_key(key: str) -> str:
    """`  Cost_Center ` and `cost center` are one key: `cost-center`."""
    return re.sub(r"[\s_-]+", "-", key.strip()).lower()


def _normalised(tags: Mapping[str, str], aliases: Mapping[str, str], resource: Mapping[str, Any]) -> Tags:
    """Where several old keys become one, the first that has a value wins."""
    normal: Tags = {}
    for old, value in tags.items():
        if _is_reserved(old, resource):
            continue
        key = _normal_key(old)
        key = aliases.get(key, key)
        normal[key] = normal.get(key) or value.strip()
    return normal


def _is_reserved(key: str, resource: Mapping[str, Any]) -> bool:
    """Tags that the cloud itself sets: nobody may change or remove them, and they count towards no limit."""
    return resource["cloud"] == "aws" and key.startswith(AWS_RESERVED_PREFIX)


def _is_removed(key: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def _for_cloud(cloud: str, tags: Tags) -> Tags:
    match cloud:
        case "aws":
            _check_aws(tags)
            return tags
        case "gcp":
            labels = {key: _gcp_value(value) for key, value in tags.items()}
            _check_gcp(labels)
            return labels
        case _:
            raise InvalidTags(f"There are no tagging rules for the cloud {cloud!r}.")


def _check_aws(tags: Tags) -> None:
    if len(tags) > AWS_MAX_TAGS:
        raise InvalidTags(f"{len(tags)} tags: aws accepts {AWS_MAX_TAGS}.")
    for key, value in tags.items():
        if not 1 <= len(key) <= AWS_KEY_LENGTH:
            raise InvalidTags(
                f"The key {key[:20]!r} has {len(key)} characters: aws accepts 1 to {AWS_KEY_LENGTH}."
            )
        if key.startswith(AWS_RESERVED_PREFIX):
            raise InvalidTags(f"The key {key!r} has a prefix that aws keeps to itself.")
        if len(value) > AWS_VALUE_LENGTH:
            raise InvalidTags(f"The value of {key!r} has {len(value)} characters: aws accepts {AWS_VALUE_LENGTH}.")
        if not (AWS_TEXT.fullmatch(key) and AWS_TEXT.fullmatch(value)):
            raise InvalidTags(f"The tag {key!r} has characters that aws does not accept.")


def _gcp_value(value: str) -> str:
    """Values that other clouds accept, made into label values: `Team Payments` becomes `team-payments`."""
    return re.sub(r"[^a-z0-9_-]+", "-", value.lower())[:GCP_LABEL_LENGTH]


def _check_gcp(labels: Tags) -> None:
    if len(labels) > GCP_MAX_LABELS:
        raise InvalidTags(f"{len(labels)} labels: gcp accepts {GCP_MAX_LABELS}.")
    for key, value in labels.items():
        if GCP_KEY.fullmatch(key) is None:
            raise InvalidTags(f"{key!r} is no label key: lower-case letters, digits, _ and -, a letter first.")
        if GCP_VALUE.fullmatch(value) is None:
            raise InvalidTags(f"The value of {key!r} is no label value: lower-case letters, digits, _ and -.")


# ---- the workers


def tag(task: Task) -> dict[str, Any]:
    """`data` is a resource; the result is the tagged resource with its evidence."""
    try:
        return tagged_with_evidence(task.data)
    except InvalidTags as problem:
        raise Reject(str(problem), {"resource": task.data["id"]}) from problem


worker = Worker()
worker.task("tag", cloud=["aws", "gcp"])(tag)

aws_123 = Worker()
aws_123.task("tag", cloud="aws", account="123")(tag)
