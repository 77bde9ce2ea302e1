"""What goes wrong on a LuxOS miner's wire: stock pyasic and our driver meet the same fault, both are asserted.

HTTP errors do not occur here: LuxOS is driven over TCP 4028 only. Stock pyasic has warm credentials (a session id), its
best case; what it leaves out or invents is the reason for each of our outcomes.
"""

from __future__ import annotations

from typing import Any

import pytest

from controller.domain.command import Outcome
from controller.domain.fleet import Condition
from simulators.asic.response import Behaviour
from simulators.faults import Fault

STILL_SILENT = "still silent"


@pytest.fixture
def warm(bench: Any) -> Any:
    """The bench with stock pyasic holding a valid session."""
    bench.stock.rpc.session_token = bench.simulated.session.open()
    return bench


async def test_port_refused_is_unreachable_where_stock_claims_to_have_stopped(warm: Any) -> None:
    warm.simulated.faults.on(Fault.REFUSE)
    assert await warm.of_stock(warm.stock.stop_mining()) is True
    report = await warm.ours.perform(warm.SLEEP)
    assert (report.outcome, report.sent_at) == (Outcome.UNREACHABLE, None)


async def test_port_refused_on_a_profile_is_unreachable_where_stock_raises_a_key_error(warm: Any) -> None:
    warm.simulated.faults.on(Fault.REFUSE)
    assert isinstance(await warm.of_stock(warm.stock.set_power_limit(2000)), KeyError)
    assert (await warm.ours.perform(warm.trim(5))).outcome is Outcome.UNREACHABLE


async def test_port_refused_reads_as_unreachable_where_stock_says_mining(warm: Any) -> None:
    warm.simulated.faults.on(Fault.REFUSE)
    data = await warm.of_stock(warm.stock.get_data(include=["is_mining", "hashrate", "wattage"]))
    assert data.is_mining is True
    reading = await warm.ours.read()
    assert (reading.condition, reading.power_w) == (Condition.UNREACHABLE, None)


async def test_reset_after_accept_is_unreachable_where_stock_raises(warm: Any) -> None:
    warm.simulated.faults.on(Fault.RESET)
    assert isinstance(await warm.of_stock(warm.stock.stop_mining()), ConnectionError)
    assert (await warm.ours.perform(warm.SLEEP)).outcome is Outcome.UNREACHABLE
    assert (await warm.ours.read()).condition is Condition.UNREACHABLE


async def test_a_silent_miner_is_unreachable_within_the_deadline_where_stock_waits_100_s(warm: Any) -> None:
    warm.simulated.faults.on(Fault.HANG)
    assert await warm.of_stock(warm.stock.stop_mining(), 0.5) == STILL_SILENT
    ours = warm.impatient()
    report = await ours.perform(warm.SLEEP)
    assert report.outcome is Outcome.UNREACHABLE  # logging on got no answer: the sleep never left
    assert (await ours.read()).condition is Condition.UNREACHABLE


async def test_a_write_that_left_and_got_no_answer_is_unknown(script: Any) -> None:
    script.answers["curtail"] = None
    stock = script.stock()
    stock.rpc.session_token = "warm"
    assert await script.of_stock(stock.stop_mining(), 0.5) == STILL_SILENT
    report = await script.ours(0.25).perform(script.SLEEP)
    assert report.outcome is Outcome.UNKNOWN
    assert report.sent_at is not None


async def test_an_answer_on_a_connection_kept_open_counts_where_stock_waits_100_s(warm: Any) -> None:
    warm.simulated.faults.on(Fault.KEEP_OPEN)
    assert await warm.of_stock(warm.stock.rpc.power(), 0.5) == STILL_SILENT
    reading = await warm.ours.read()
    assert reading.condition is Condition.HASHING
    assert reading.finished_at - reading.started_at < 3.0  # the driver's deadline, not used up
    assert (await warm.ours.perform(warm.SLEEP)).outcome is Outcome.APPLIED


@pytest.mark.parametrize("bench", [Behaviour.REFUSES], indirect=True)
async def test_a_rejected_write_is_refused_with_the_firmwares_code_where_stock_says_false(warm: Any) -> None:
    assert await warm.of_stock(warm.stock.stop_mining()) is False
    warm.simulated.session.drop()
    report = await warm.ours.perform(warm.SLEEP)
    assert report.outcome is Outcome.REFUSED
    assert report.detail.startswith("45: ")


async def test_a_session_that_never_works_is_refused_where_stock_says_false(warm: Any) -> None:
    warm.simulated.faults.on(Fault.SESSION_ERROR)
    assert await warm.of_stock(warm.stock.stop_mining()) is False
    warm.simulated.session.drop()
    report = await warm.ours.perform(warm.SLEEP)
    assert (report.outcome, report.detail) == (Outcome.REFUSED, "403: Invalid session")


async def test_a_stale_session_is_renewed_where_stock_fails_from_then_on(warm: Any) -> None:
    assert await warm.of_stock(warm.stock.stop_mining()) is True
    warm.simulated.faults.on(Fault.STALE_SESSION)
    assert await warm.of_stock(warm.stock.resume_mining()) is False
    assert await warm.of_stock(warm.stock.resume_mining()) is False
    assert (await warm.ours.perform(warm.SHED)).outcome is Outcome.ACKNOWLEDGED
    warm.simulated.faults.on(Fault.STALE_SESSION)
    warm.forget()
    assert (await warm.ours.perform(warm.SHED)).outcome is Outcome.ACKNOWLEDGED
    assert warm.commands() == ["curtail", "logon", "curtail"]


async def test_two_writes_more_than_a_session_apart_both_take_effect(bench: Any) -> None:
    assert (await bench.ours.perform(bench.SLEEP)).outcome is Outcome.APPLIED
    bench.simulated.faults.on(Fault.STALE_SESSION)
    assert (await bench.ours.perform(bench.WAKE)).outcome is Outcome.APPLIED


async def test_a_stale_session_on_a_profile_is_renewed_where_stock_raises(warm: Any) -> None:
    warm.simulated.faults.on(Fault.STALE_SESSION)
    stock = await warm.of_stock(warm.stock.set_power_limit(2000))
    assert type(stock).__name__ == "APIError"
    assert (await warm.ours.perform(warm.trim(5))).outcome is Outcome.APPLIED


async def test_session_and_logon_both_failing_is_refused_where_stock_raises_a_type_error(bench: Any) -> None:
    bench.simulated.faults.on(Fault.DEVICE_ERROR)
    assert isinstance(await bench.of_stock(bench.stock.stop_mining()), TypeError)
    report = await bench.ours.perform(bench.SLEEP)
    assert (report.outcome, report.sent_at) == (Outcome.REFUSED, None)
    assert report.detail == "logon: 500: Internal error; session: 500: Internal error"
    assert (await bench.ours.read()).condition is Condition.UNKNOWN


async def test_a_sleeping_miner_reads_as_asleep_where_stock_says_mining(bench: Any) -> None:
    await bench.ours.perform(bench.SLEEP)
    await bench.until(lambda: bench.farm.bank.reported_power_w[0] < 100)
    assert (await bench.of_stock(bench.stock.get_data(include=["is_mining"]))).is_mining is True
    reading = await bench.ours.read()
    assert reading.condition is Condition.ASLEEP
    assert reading.power_w is not None
    assert reading.power_w < 100


async def test_the_hash_rate_is_read_where_stock_returns_none(bench: Any) -> None:
    assert await bench.of_stock(bench.stock.get_hashrate()) is None
    reading = await bench.ours.read()
    assert reading.hashrate_th == pytest.approx(121.8, rel=0.05)


async def test_garbage_is_unknown_where_stock_raises(warm: Any) -> None:
    warm.simulated.faults.on(Fault.GARBAGE)
    assert isinstance(await warm.of_stock(warm.stock.rpc.power()), Exception)
    reading = await warm.ours.read()
    assert reading.condition is Condition.UNKNOWN
    assert "not a whole JSON document" in reading.detail


async def test_a_truncated_answer_is_unknown_where_stock_patches_it_up(script: Any) -> None:
    whole = b'{"STATUS":"S","Msg":"Curtail","Code":335,"Descr'
    script.answers["curtail"] = whole
    stock = script.stock()
    stock.rpc.session_token = "warm"
    assert await stock.stop_mining() is True
    assert (await script.ours().perform(script.SLEEP)).outcome is Outcome.UNKNOWN


async def test_a_connection_closed_without_a_word_is_unknown_after_a_write(script: Any) -> None:
    script.answers["curtail"] = b""
    report = await script.ours().perform(script.SLEEP)
    assert (report.outcome, report.detail) == (Outcome.UNKNOWN, "connection closed without an answer")


async def test_an_endless_answer_is_cut_off_and_unknown(script: Any) -> None:
    script.answers["power+summary+config"] = b"{" + b" " * 300_000
    reading = await script.ours().read()
    assert reading.condition is Condition.UNKNOWN
    assert "longer than" in reading.detail


async def test_brackets_without_end_are_unknown_and_upset_nothing(
    script: Any, caplog: pytest.LogCaptureFixture
) -> None:
    script.answers["power+summary+config"] = b'{"a":' * 40_000 + b"}"
    assert (await script.ours().read()).condition is Condition.UNKNOWN
    assert not caplog.records, "an exception in the protocol is logged by asyncio"


async def test_an_answer_that_drips_in_counts_once_it_is_whole(bench: Any) -> None:
    bench.simulated.faults.on(Fault.DRIP, 0.0001)
    assert (await bench.ours.perform(bench.SHED)).outcome is Outcome.ACKNOWLEDGED


async def test_an_empty_document_is_no_success_where_stock_takes_it_for_one(script: Any) -> None:
    script.answers["curtail"] = {}
    stock = script.stock()
    stock.rpc.session_token = "warm"
    assert await stock.stop_mining() is True
    assert (await script.ours().perform(script.SLEEP)).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("document", [[], 5, "yes", {"STATUS": []}, {"STATUS": 3}, {"id": 1}, {"a": [1]}, {"a": 7}])
async def test_documents_of_any_other_shape_are_unknown(script: Any, document: object) -> None:
    script.answers["curtail"] = document
    script.answers["power+summary+config"] = document
    assert (await script.ours().perform(script.SLEEP)).outcome is Outcome.UNKNOWN
    assert (await script.ours().read()).condition is Condition.UNKNOWN
