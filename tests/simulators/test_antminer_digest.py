"""Nonces of a digest gate: how long they live, what they are good for, how many are kept."""

import re
from hashlib import md5

import pytest

from simulators.asic.digest import NONCES_KEPT, DigestGate, Verdict

REALM, USER, PASSWORD = "antMiner Configuration", "root", "root"


class Gate:
    """A gate with a clock of its own, and the client that answers it."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.gate = DigestGate(REALM, USER, seed=1, lifetime_s=600.0, now_s=lambda: self.now_s)

    def nonce(self) -> str:
        found = re.search('nonce="([0-9a-f]{32})"', self.gate.challenge(stale=False))
        assert found is not None
        return found[1]

    def ask(self, nonce: str, count: int, *, password: str = PASSWORD, user: str = USER, realm: str = REALM) -> Verdict:
        secret = _md5(f"{user}:{realm}:{password}")
        response = _md5(f"{secret}:{nonce}:{count:08x}:c:auth:{_md5('GET:/')}")
        header = f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="/", response="{response}", '
        return self.gate.check("GET", "/", header + f'qop=auth, nc={count:08x}, cnonce="c"', PASSWORD)


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def test_counts_must_rise_and_may_leave_some_out() -> None:
    gate = Gate()
    nonce = gate.nonce()
    counts = [1, 2, 2, 1, 5, 4, 6]
    good, stale = Verdict.GOOD, Verdict.STALE
    assert [gate.ask(nonce, count) for count in counts] == [good, good, stale, stale, good, stale, good]


def test_a_nonce_lives_its_time_however_much_it_is_used() -> None:
    gate = Gate()
    nonce = gate.nonce()
    for gate.now_s in (0.0, 300.0, 599.9):
        assert gate.ask(nonce, int(gate.now_s) + 1) is Verdict.GOOD
    gate.now_s = 600.0
    assert gate.ask(nonce, 700) is Verdict.STALE


def test_the_oldest_nonce_is_forgotten_when_there_are_too_many() -> None:
    gate = Gate()
    first, second = gate.nonce(), gate.nonce()
    for _ in range(NONCES_KEPT - 1):
        gate.nonce()
    assert gate.ask(first, 1) is Verdict.STALE
    assert gate.ask(second, 1) is Verdict.GOOD


def test_wrong_credentials_are_wrong_with_an_unknown_nonce_too() -> None:
    gate = Gate()
    assert gate.ask("0" * 32, 1) is Verdict.STALE
    assert gate.ask("0" * 32, 1, password="other") is Verdict.WRONG


@pytest.mark.parametrize("given", [{"user": "admin"}, {"realm": "elsewhere"}, {"password": "ROOT"}])
def test_user_realm_and_password_must_all_be_right(given: dict[str, str]) -> None:
    gate = Gate()
    assert gate.ask(gate.nonce(), 1, **given) is Verdict.WRONG
