"""Values that look like something to act on, and rules that are traps: none is acted on, all are reported."""

import json
import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

from src.marketing_messaging_service.infrastructure.run_lease import _BOOT_ID
from tests.torture.forks import Ending, ForkServer
from tests.torture.hostile import EVENT
from tests.torture.kills import Start, recover, self_check
from tests.torture.orders import Order
from tests.torture.scene import PROJECT, Scene, empty_scene

VALUES = (
    "'); DROP TABLE events;--",
    '" OR 1=1 --',
    ":user_id",
    "?1?",
    "%(user_id)s",
    "%s%n{0}{user_id!r}",
    "../../../../etc/passwd",
    "/etc/passwd",
    "file:///etc/passwd",
    "\\\\server\\share",
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "$(touch owned)",
    "`touch owned`",
    "${jndi:ldap://localhost/a}",
    "<script>alert(1)</script>",
    "NULL--",
    "\u202egnp.exe",
)
"""Ids as an attacker would send them."""

_UNFOLDING = "\n".join(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in pairwise("abcdefgh"))
_RULE = {
    "name": "twice",
    "trigger": {"event_type": "a"},
    "action": {"type": "send", "template_name": "T", "delivery_method": "email"},
}

RULES_TRAPS: Mapping[str, tuple[str, str]] = {
    "tag that builds an object": ("rules: !!python/object/apply:os.system ['touch owned']", "the tag"),
    "tag of another kind": ("rules: !<tag:yaml.org,2002:python/name:os.system> x", "the tag"),
    "aliases that unfold": (f"a: &a [x, x, x, x, x, x, x, x, x]\n{_UNFOLDING}\nrules: []", "the alias"),
    "merge key": ("base: &base {enabled: true}\nrules: [{<<: *base, name: r}]", "the alias"),
    "deep nesting": ("rules: " + "[" * 5_000, "nested more than"),
    "unknown key": ("rules: []\nrulez: []", "unknown key"),
    "wrong type": ("rules: 7", "expected a list"),
    "name that repeats": (json.dumps({"rules": [_RULE, _RULE]}), "a name that no other rule has"),
    "key that repeats": ("rules: []\nrules: []", "is written twice"),
    "nothing": ("", "cannot be used"),
    "bytes that are no text": ("\udcff", "is not UTF-8 text"),
    "too large": ("#" * 300_000, "is larger than"),
}
"""Rules files that must be refused, each with its report."""


def values_are_only_kept(server: ForkServer, folder: Path) -> list[str]:
    """Load and decide events full of hostile values; each is kept as it came, and nothing is opened because of it."""
    scene = empty_scene(folder)
    lines = [json.dumps(_hostile_event(number, value)) for number, value in enumerate(VALUES)]
    scene.land("hostile.jsonl", "\n".join(lines).encode())
    scene.rules.write_text(json.dumps(_hostile_rules()), encoding="utf-8")
    ending = server.run(Order(str(scene.folder), is_watched=True))
    breaches = [] if ending.exit_code == 0 else [f"ended with {ending.exit_code}: {ending.output}"]
    if not (ending.opened and ending.statements):
        breaches.append("nothing was watched")
    breaches += _reached_outside(ending, scene)
    breaches += [
        f"{value} stands in {statement}" for statement in ending.statements for value in VALUES if value in statement
    ]
    with closing(sqlite3.connect(scene.database)) as connection:
        kept = {row[0] for row in connection.execute("SELECT user_id FROM events")}
        sent = {row[0] for row in connection.execute("SELECT user_id FROM send_requests")}
    if kept != set(VALUES) or sent != set(VALUES):
        breaches.append(f"kept {kept ^ set(VALUES)}, sent {sent ^ set(VALUES)}")
    return breaches + self_check(scene.database)


def _hostile_event(number: int, value: str) -> dict[str, Any]:
    return EVENT | {
        "message_id": f"{number} {value}",
        "user_id": value,
        "event_type": value,
        "properties": {"failure_reason": value, value: 1},
        "user_traits": {"email": value, "path": value},
        value: value,
    }


def _hostile_rules() -> dict[str, Any]:
    """One rule a value, with the value wherever a rule takes text."""
    return {
        "rules": [
            {
                "name": f"{number} {value}",
                "description": f"For {value}",
                "trigger": {"event_type": value},
                "conditions": {
                    "all": [
                        {"field": "properties.failure_reason", "operator": "equals", "value": value},
                        {"field": "user_traits.email", "operator": "in", "value": [value, "x"]},
                    ]
                },
                "action": {"type": "send", "template_name": value, "delivery_method": "email"},
                "suppression": {"mode": "once_ever"},
                "exclusive_group": value,
            }
            for number, value in enumerate(VALUES)
        ]
    }


def _reached_outside(ending: Ending, scene: Scene) -> list[str]:
    # By the last one the run's lease knows the machine; no value of an event leads there.
    inside = (scene.folder, PROJECT, (PROJECT / ".venv").resolve(), sys.prefix, sys.base_prefix, _BOOT_ID)
    allowed = tuple(str(path) for path in inside)
    reached = {line for line in ending.opened if not line.partition(": ")[2].startswith(allowed)}
    return [f"reached for {line}" for line in sorted(reached)]


def rules_trap(server: ForkServer, start: Start, folder: Path, text: str, told: str) -> list[str]:
    """Run with a rules file that is a trap: its events are loaded and wait, and good rules decide them afterwards."""
    scene = start.scene.copy_to(folder)
    good = scene.rules.read_bytes()
    scene.rules.write_bytes(text.encode(errors="surrogateescape"))
    ending = server.run(Order(str(scene.folder), is_watched=True, longest_seconds=20))
    scene.rules.write_bytes(good)
    breaches = [fault] if (fault := ending.fault()) else []
    if ending.exit_code != 1 or told not in ending.output:
        breaches.append(f"ended with {ending.exit_code} and does not say {told!r}: {ending.output}")
    return breaches + _reached_outside(ending, scene) + recover(server, start, scene)
