"""Single journal rows, each by itself, and the bodies of what comes one at a time. docs/status.md lists the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.domain.command import Command, CommandReport
from controller.domain.dispatch import Answer, Dispatch, Received
from controller.domain.journalling import Row, RowKind
from controller.domain.plan import Event, OperatorOrder
from controller.wire.canonical import canonical

Json = dict[str, object]


def start_row(wall: float, facts: Mapping[str, object], miner_ids: tuple[str, ...]) -> Row:
    """The first row of a run. Miners are indices in all other rows; this one names them."""
    return Row(wall, RowKind.START, canonical({**facts, "miner_ids": list(miner_ids)}))


def stop_row(wall: float, reason: str) -> Row:
    """The last row of a run that ended on purpose; its absence says that the run was cut off."""
    return Row(wall, RowKind.STOP, canonical({"reason": reason}))


def prior_row(wall: float, miner_id: str, prior: str) -> Row:
    """What a miner ran before we first touched it; never pruned, never written twice for one miner."""
    return Row(wall, RowKind.PRIOR, canonical({"miner": miner_id, "prior": prior}))


def commands_row(wall: float, commands: Sequence[Command]) -> Row:
    """Commands as they go out; those of a cycle stand before its DECISION, those of safe mode by themselves."""
    return Row(wall, RowKind.COMMAND, canonical({"commands": [command_body(command) for command in commands]}))


def outcomes_row(wall: float, reports: Sequence[CommandReport]) -> Row:
    """What drivers learned from commands."""
    return Row(wall, RowKind.OUTCOME, canonical({"reports": [report_body(report) for report in reports]}))


def event_row(wall: float, event: Event) -> Row:
    """An event that did not come out of a cycle (the journal's own, the actuator's)."""
    return Row(wall, RowKind.EVENT, canonical(event_body(event)))


def report_body(report: CommandReport) -> list[object]:
    rare = [report.again_at, report.wear] if report.again_at is not None or report.wear else []
    return [
        report.command_id,
        report.miner,
        report.outcome.value,
        report.sent_at,
        report.answered_at,
        report.detail,
        report.rounded_to_level,
        *rare,
    ]


def command_body(command: Command) -> list[object]:
    rare = [command.prior, True] if command.escalated else [] if command.prior is None else [command.prior]
    return [
        command.command_id,
        command.miner,
        command.verb.value,
        command.level,
        command.raises,
        command.urgent,
        command.reason,
        *rare,
    ]


def received_body(received: Received) -> Json:
    body: Json = {"received_at": received.received_at, "retained": received.retained}
    message = received.message
    if isinstance(message, Dispatch):
        order: Json = {
            "id": message.dispatch_id,
            "issuer": message.issuer,
            "seq": message.seq,
            "issued_at": message.issued_at,
            "expires_at": message.expires_at,
            "class": message.dispatch_class.value,
            "kind": message.kind.value,
            "power_w": message.power_w,
            "priority": message.priority,
            "reason": message.reason,
        }
        body["order"] = order if message.not_before is None else {**order, "not_before": message.not_before}
    else:
        body["malformed"] = {
            "id": message.dispatch_id,
            "issuer": message.issuer,
            "code": message.code.value,
            "reason": message.reason,
        }
    return body


def operator_body(order: OperatorOrder) -> Json:
    return {
        "verb": order.verb.value,
        "operator": order.operator,
        "power_w": order.power_w,
        "expires_at": order.expires_at,
        "miners": list(order.miners),
    }


def answer_body(answer: Answer) -> Json:
    return {
        "id": answer.dispatch_id,
        "issuer": answer.issuer,
        "status": answer.status.value,
        "at": answer.at,
        "terminal": answer.terminal,
        "power_w": answer.power_w,
        "code": None if answer.code is None else answer.code.value,
        "reason": answer.reason,
    }


def event_body(event: Event) -> Json:
    return {"name": event.name, "level": event.level.value, "text": event.text, "miner": event.miner}
