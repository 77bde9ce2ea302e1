"""deploy/mosquitto/make-certificates.sh: what it makes, and what it will not do."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from controller.runtime.mqtt_link import LinkLostError, connected
from tests.deploy.brokers import MAKE_CERTIFICATES, Nats, make_certificates
from tests.deploy.ears import until


def loaded(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_every_identity_gets_its_name_its_use_and_its_end(programme: Path) -> None:
    purposes = {}
    for name in ("broker.centre", "dasu-1", "desk.national", "observer.programme"):
        certificate = loaded(programme / f"{name}.pem")
        assert certificate.subject.rfc4514_string() == f"CN={name}"
        left = certificate.not_valid_after_utc - datetime.now(UTC)
        assert timedelta(days=396) < left < timedelta(days=398)
        purposes[name] = {
            usage.dotted_string for usage in certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        }
        assert (programme / f"{name}.key").stat().st_mode & 0o777 == 0o600
    server, client = x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH
    assert purposes.pop("broker.centre") == {server.dotted_string, client.dotted_string}
    assert set(map(frozenset, purposes.values())) == {frozenset({client.dotted_string})}
    authority = loaded(programme / "ca.pem")
    assert authority.not_valid_after_utc - datetime.now(UTC) > timedelta(days=3600)


def test_an_address_is_written_as_what_it_is(programme: Path) -> None:
    made = make_certificates(programme, "broker", "addresses", "broker.example.org", "10.0.0.7", "2001:db8::7", "node7")
    assert made.returncode == 0, made.stderr
    certificate = loaded(programme / "broker.addresses.pem")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["broker.example.org", "node7"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.7", "2001:db8::7"]


@pytest.mark.parametrize("which", ["authority", "broker centre 127.0.0.1", "site dasu-1", "desk national"])
def test_nothing_is_ever_overwritten(programme: Path, which: str) -> None:
    before = {path.name: path.read_bytes() for path in programme.iterdir() if path.is_file()}
    again = make_certificates(programme, *which.split())
    assert (again.returncode, "is there already" in again.stderr) == (2, True)
    assert {path.name: path.read_bytes() for path in programme.iterdir() if path.is_file()} == before
    assert not [path for path in programme.iterdir() if path.is_dir()], "its working directory is left behind"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("site", "desk.national"), "is no name"),  # a dot would make a site pass for a desk
        (("site", "a/b"), "is no name"),
        (("site", "+"), "is no name"),
        (("site", ""), "is no name"),
        (("desk", "x/CN=dasu-1"), "is no name"),
        (("site", "x" * 65), "at most 64"),
        (("broker", "b", "1.2.3.4, DNS:other"), "neither a host name"),
        (("broker", "b"), "NAME ADDRESS"),
        (("sites",), "authority"),
    ],
)
def test_a_name_that_would_mean_something_else_is_refused(
    programme: Path, arguments: tuple[str, ...], words: str
) -> None:
    refused = make_certificates(programme, *arguments)
    assert (refused.returncode, words in refused.stderr) == (2, True), refused.stderr


def test_without_an_authority_it_says_what_to_do_first(tmp_path: Path) -> None:
    refused = make_certificates(tmp_path, "site", "dasu-1")
    assert (refused.returncode, "authority" in refused.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_what_ends_soon_is_named_with_an_exit_code_for_a_timer(tmp_path: Path) -> None:
    assert make_certificates(tmp_path, "authority", "a test").returncode == 0
    assert make_certificates(tmp_path, "site", "long", days=90).returncode == 0
    listed = make_certificates(tmp_path, "list")
    assert (listed.returncode, "long.pem" in listed.stdout, "within" in listed.stdout) == (0, True, False)
    assert make_certificates(tmp_path, "site", "short", days=20).returncode == 0
    listed = make_certificates(tmp_path, "list")
    assert listed.returncode == 1
    assert [line for line in listed.stdout.splitlines() if "within 30 days" in line and "short.pem" in line]
    assert listed.stdout.count("within") == 1


async def test_a_sites_certificate_does_not_make_a_broker(programme: Path, tmp_path: Path) -> None:
    """Whoever got hold of a client's key cannot stand in for the broker with it."""
    broker = Nats(tmp_path, programme)
    for kind in ("pem", "key"):
        shutil.copy(programme / f"dasu-2.{kind}", broker.certificate.with_suffix(f".{kind}"))
    broker.start(wait=False)
    try:
        await until(lambda: "Server is ready" in broker.said(), "the server up")
        with pytest.raises(LinkLostError, match=r"certificate verify failed: uns[a-z]+ certificate purpose"):
            async with connected(broker.settings("dasu-1"), None):
                pass
    finally:
        broker.stop()


def test_the_script_runs_in_the_plainest_shell() -> None:
    assert MAKE_CERTIFICATES.read_text().startswith("#!/bin/sh\n")
    assert subprocess.run(["sh", "-n", MAKE_CERTIFICATES], check=False).returncode == 0
    assert ssl.OPENSSL_VERSION_INFO >= (3,), "-noenc needs openssl 3"
