"""Makes `inventory.jsonl`: invented cloud resources with the tags that years of different teams leave behind.

    python examples/make_inventory.py > examples/inventory.jsonl

The same seed makes the same file. What is wrong with the tags is what `tagging.apply_tags` puts right.
"""

from __future__ import annotations

import json
import random
import sys
from typing import Any

SEED = 20240501
RESOURCES = 400

ACCOUNTS = {"aws": (["123", "456", "789"], [5, 3, 2]), "gcp": (["456", "789"], [1, 1])}
REGIONS = {
    "aws": ["eu-central-1", "eu-west-1", "us-east-1"],
    "gcp": ["europe-west3", "europe-west4", "us-central1"],
}
TYPES = {
    "aws": ["ec2:instance", "s3:bucket", "rds:db", "lambda:function", "ec2:volume"],
    "gcp": ["compute:instance", "storage:bucket", "sql:instance", "run:service"],
}
ENVIRONMENTS = {"123": "production", "456": "staging", "789": "development"}
OWNERS = ["Team Payments", "team-search", "Platform", "data.science@example.com", "Ops/Night Shift"]
OWNER_KEYS = ["Owner", "owner", " OWNER", "Team", "responsible"]
COST_KEYS = ["CostCenter", "cost_center", "Cost Centre", "kostenstelle"]
DEPRECATED = ["tmp_ticket", "TMP-migrated", "legacy id", "Legacy_Backup", "do-not-use"]
ALIASES = {
    "team": "owner",
    "responsible": "owner",
    "costcenter": "cost-centre",
    "cost-center": "cost-centre",
    "kostenstelle": "cost-centre",
}


def resources(count: int = RESOURCES, seed: int = SEED) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    return [_resource(chance, number) for number in range(1, count + 1)]


def _resource(chance: random.Random, number: int) -> dict[str, Any]:
    cloud = chance.choices(["aws", "gcp"], [7, 3])[0]
    accounts, weights = ACCOUNTS[cloud]
    account = chance.choices(accounts, weights)[0]
    kind = chance.choice(TYPES[cloud])
    return {
        "id": f"{cloud}-{account}-{kind.partition(':')[2]}-{number:04}",
        "cloud": cloud,
        "account": account,
        "region": chance.choice(REGIONS[cloud]),
        "type": kind,
        "tags": _tags(chance, cloud),
        "tag_update": _update(chance),
    }


def _tags(chance: random.Random, cloud: str) -> dict[str, str]:
    tags = {"Name": f"{chance.choice(['web', 'api', 'batch', 'cache'])}-{chance.randrange(100):02}"}
    if chance.random() < 0.8:
        tags[chance.choice(OWNER_KEYS)] = chance.choice(OWNERS)
    if chance.random() < 0.6:
        tags[chance.choice(COST_KEYS)] = f"CC {chance.randrange(1000, 1020)}"
    for key in chance.sample(DEPRECATED, chance.randrange(3)):
        tags[key] = chance.choice(["yes", "OPS-1234", "2019"])
    if cloud == "aws" and chance.random() < 0.3:
        tags["aws:cloudformation:stack-name"] = f"stack-{chance.randrange(20)}"
    return tags


def _update(chance: random.Random) -> dict[str, Any]:
    derived = [
        {"key": "env", "value": environment, "when": {"account": account}}
        for account, environment in ENVIRONMENTS.items()
    ]
    defaults = [
        {"key": "owner", "value": "Platform", "when": {}},
        {"key": "cost-centre", "value": "CC 1000", "when": {"cloud": "gcp"}},
        {"key": "cost-centre", "value": "CC 1001", "when": {}},
    ]
    backup = chance.choice(["daily", "weekly", "none"])
    return {
        "aliases": ALIASES,
        "remove": ["tmp-*", "legacy-*", "do-not-use"],
        "set": {"Managed_By": "tagging", "Backup Plan": backup},
        "derive": derived + defaults,
    }


if __name__ == "__main__":
    for resource in resources():
        sys.stdout.write(json.dumps(resource, ensure_ascii=False) + "\n")
