"""What waits for the next cycle, and what makes it start early."""

from __future__ import annotations

from controller.domain.command import Outcome
from controller.domain.dispatch import Malformed, Received, RejectCode
from controller.domain.fleet import Condition
from controller.domain.metering import Point
from controller.domain.plan import OperatorOrder, OperatorVerb, Snapshot
from controller.runtime.mailbox import OPERATOR_ORDERS_MAX, Mailbox
from tests.core.conftest import Kit
from tests.runtime.fakes import command


def frozen(mailbox: Mailbox) -> Snapshot:
    return mailbox.freeze(100.0, (), None, True)


def test_the_newest_sample_of_a_point_stays_until_a_newer_one_and_a_bad_one_replaces_a_good_one() -> None:
    mailbox = Mailbox(Kit.policy())
    mailbox.put_readings(Kit.readings(1.0, poi_export_w=5.0, site_load_w=7.0))
    assert frozen(mailbox).readings[Point.POI_EXPORT_W].value == 5.0
    mailbox.put_readings(Kit.readings(2.0, poi_export_w=None))
    snapshot = frozen(mailbox)
    assert snapshot.readings[Point.POI_EXPORT_W].value is None
    assert snapshot.readings[Point.SITE_LOAD_W].value == 7.0


def test_feeders_keep_their_newest_sample_and_never_hurry_anybody() -> None:
    mailbox = Mailbox(Kit.policy())
    mailbox.put_feeder(1, Kit.sample(5_000.0, 1.0))
    mailbox.put_feeder(1, Kit.sample(None, 2.0))
    mailbox.put_feeder(0, Kit.sample(7_000.0, 2.0))
    assert not mailbox.urgent.is_set()
    for _ in range(2):
        snapshot = frozen(mailbox)
        assert {feeder: sample.value for feeder, sample in snapshot.feeders.items()} == {1: None, 0: 7_000.0}
    assert snapshot.readings == {}


def test_telemetry_and_reports_are_handed_over_once_and_only_the_newest_reading_of_a_miner() -> None:
    mailbox = Mailbox(Kit.policy())
    mailbox.put_telemetry(Kit.reading(1, Condition.HASHING, 3000.0, 1.0))
    mailbox.put_telemetry(Kit.reading(1, Condition.HASHING, 3100.0, 2.0))
    mailbox.put_report(Kit.report(command(4), Outcome.APPLIED, 1.0))
    mailbox.put_report(Kit.report(command(5), Outcome.REFUSED, 2.0))
    snapshot = frozen(mailbox)
    assert [reading.power_w for reading in snapshot.telemetry] == [3100.0]
    assert [report.command_id for report in snapshot.reports] == [4, 5]
    again = frozen(mailbox)
    assert (again.telemetry, again.reports) == ((), ())


def test_reports_behind_the_last_cycle_can_be_had_once() -> None:
    mailbox = Mailbox(Kit.policy())
    mailbox.put_report(Kit.report(command(4), Outcome.APPLIED, 1.0))
    assert [report.command_id for report in mailbox.take_reports()] == [4]
    assert mailbox.take_reports() == ()
    assert frozen(mailbox).reports == ()


def test_a_snapshot_does_not_change_when_more_comes_in() -> None:
    mailbox = Mailbox(Kit.policy())
    mailbox.put_readings(Kit.readings(1.0, poi_export_w=5.0))
    snapshot = frozen(mailbox)
    mailbox.put_readings(Kit.readings(2.0, poi_export_w=6.0))
    assert snapshot.readings[Point.POI_EXPORT_W].value == 5.0


def test_an_export_below_the_despatch_is_urgent_until_the_next_cycle_takes_it() -> None:
    mailbox = Mailbox(Kit.policy())
    mailbox.put_readings(Kit.readings(1.0, poi_export_w=10_000.0, despatch_export_w=10_000.0))
    assert not mailbox.urgent.is_set()
    mailbox.put_readings(Kit.readings(2.0, poi_export_w=8_000.0))
    assert mailbox.urgent.is_set()
    frozen(mailbox)
    assert not mailbox.urgent.is_set()


def test_every_live_order_is_urgent_and_a_retained_or_malformed_one_is_not() -> None:
    mailbox = Mailbox(Kit.policy())
    mailbox.note_received(Received(Kit.order(), Kit.wall, retained=True))
    mailbox.note_received(Received(Malformed("x", "desk", RejectCode.INVALID_DATA, "no"), Kit.wall))
    assert not mailbox.urgent.is_set()
    mailbox.note_received(Received(Kit.order(), Kit.wall))
    assert mailbox.urgent.is_set()


def test_a_persons_order_is_urgent_and_too_many_are_refused() -> None:
    mailbox = Mailbox(Kit.policy())
    order = OperatorOrder(OperatorVerb.ADOPT, "uid 0", miners=(1,))
    assert mailbox.put_operator(order)
    assert mailbox.urgent.is_set()
    assert all(mailbox.put_operator(order) for _ in range(OPERATOR_ORDERS_MAX - 1))
    assert not mailbox.put_operator(order)
    assert len(frozen(mailbox).operator) == OPERATOR_ORDERS_MAX
    assert mailbox.put_operator(order)
