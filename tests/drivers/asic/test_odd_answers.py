"""Miners whose answers are odd: whatever stands in place of whatever value, no call raises, and no report is a flood.

An exception out of a driver ends the daemon, and what a miner says ends up in the journal and in logs.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from controller.domain.command import Command, CommandReport, Verb
from controller.domain.fleet import MinerReading
from drivers.asic.profiles import LadderUnreadableError
from tests.drivers.asic.antminer.answers import http
from tests.drivers.asic.antminer.script import SLEEP, WAKE, scripted
from tests.drivers.asic.whatsminer.script import OK, Sealed, running

ODD: dict[str, Any] = {
    "null": None,
    "true": True,
    "minus one": -1,
    "a number as text": "12",
    "infinite": 1e999,
    "longer than a float": 10**400,
    "half a character": "\ud800",
    "a page of text": "w\n\x1b[2J\u202e" * 20_000,
    "other digits": "\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668.",
    "an empty list": [],
    "a list": [None, 1, "x"],
    "an empty object": {},
    "an object": {"0": {"Msg": {}}},
}
NEVER_LOOKED_AT = ("id", "When", "Description", "GHS av", "API", "Miner", "status", "rate_unit", "elapsed")
LONGEST_DETAIL = 700
TRIM = Command(44, 0, Verb.TRIM, 0, raises=True, urgent=False, reason="test")


def odd_versions(document: Any, value: Any) -> Iterator[Any]:
    """`document` with `value` in place of each part of it in turn, itself included."""
    yield value
    for path in _paths(document):
        changed = copy.deepcopy(document)
        holder = changed
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = value
        yield changed


def _paths(document: Any) -> Iterator[tuple[Any, ...]]:
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        if key in NEVER_LOOKED_AT:
            continue
        yield (key,)
        if isinstance(value, dict | list):
            yield from ((key, *path) for path in _paths(value))


def check(answer: MinerReading | CommandReport, prior: str | None = None) -> None:
    """What the core, the journal and the log can take."""
    texts = [answer.detail] + ([answer.prior] if isinstance(answer, MinerReading) and answer.prior else [])
    for text in texts:
        assert len(text) <= LONGEST_DETAIL, text[:LONGEST_DETAIL]
        assert text.isprintable(), ascii(text)
        text.encode()


async def use(miner: Any, prior: str, asked_by: str) -> None:
    """Whatever asks for the document in question: "read", "command" or both."""
    if "read" in asked_by:
        check(await miner.read())
        try:
            await miner.read_ladder()
        except LadderUnreadableError as error:
            assert len(str(error)) <= LONGEST_DETAIL
            assert str(error).isprintable()
    if "command" in asked_by:
        for command in (SLEEP, replace(WAKE, prior=prior, urgent=True), TRIM):
            check(await miner.perform(command))
        check(await miner.restore(prior))
    await miner.close()


@pytest.mark.parametrize("value", ODD.values(), ids=ODD.keys())
async def test_luxos(script: Any, value: Any) -> None:
    parts = {
        "power": script.ok(POWER=[{"Watts": 2_000}]),
        "summary": script.ok(SUMMARY=[{"GHS 5s": 100_000.0}]),
        "config": script.ok(
            CONFIG=[{"Profile": "default", "CurtailMode": "None", "IsPowerSupplyOn": True, "IsAtmEnabled": True}]
        ),
    }
    good = script.answers | {
        "power+summary+config": {name: [part] for name, part in parts.items()},
        "config": parts["config"],
        "version": script.ok(VERSION=[{"LUXminer": "2025", "Type": "Antminer S19k Pro"}]),
        "profiles": script.ok(PROFILES=[{"Profile Name": "default", "Watts": 2_000, "Hashrate": 100.0}]),
        "curtail": script.ok(),
        "profileset": script.ok(PROFILE=[{"Profile": "default"}]),
        "atm": script.ok(ATM=[{"Enabled": True}]),
        "atmset": script.ok(),
    }
    for command, document in good.items():
        for odd in odd_versions(document, value):
            script.answers = {**good, command: odd if odd is not None else b"null"}
            reads = command in ("power+summary+config", "version", "profiles")
            await use(script.ours(), "default", "read" if reads else "command")


@pytest.mark.parametrize("value", ODD.values(), ids=ODD.keys())
async def test_whatsminer(value: Any) -> None:
    async with running() as script:
        grant = {"time": "5626", "salt": script.salt, "newsalt": "KrTFM3PY"}
        good = script.answers | {
            "get_token": {**OK, "Code": 134, "Msg": grant},
            "power_off": OK,
            "power_on": OK,
            "set_power_pct": OK,
        }
        for command, document in good.items():
            for odd in odd_versions(document, value):
                sealed = command.startswith(("power", "set"))
                wire = Sealed(odd, script.key) if sealed else json.dumps(odd).encode()
                script.answers = {**good, command: wire}
                both = command in ("get_token", "status")
                await use(script.ours(), "80", "read, command" if both else "command" if sealed else "read")


@pytest.mark.parametrize("value", ODD.values(), ids=ODD.keys())
async def test_antminer(value: Any) -> None:
    async with scripted(obeys=False) as script:
        pool = {"url": "stratum+tcp://pool.invalid:3333", "user": "site.w1", "pass": "x"}
        conf = {"pools": [pool], "bitmain-work-mode": "0", "bitmain-freq-level": "95"}
        good = {"api": script.api, "web": {**script.web, "get_miner_conf": conf}}
        for port, answers in good.items():
            for command, document in answers.items():
                both = command in ("get_miner_conf", "summary")
                asked_by = "read, command" if both else "command" if command == "set_miner_conf" else "read"
                for odd in odd_versions(document, value):
                    wire = json.dumps(odd).encode()
                    wire = wire if port == "api" else http(200, wire)
                    setattr(script, port, {**answers, command: wire})
                    await use(script.ours(), "3", asked_by)
            setattr(script, port, answers)
