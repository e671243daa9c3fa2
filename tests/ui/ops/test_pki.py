import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from ui.ops.files import UnsafeFileError
from ui.ops.pki import CONTROL, CertificateAuthority, Identity, IdentityError, ingest_worker

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def authority(folder: Path, now: datetime = NOW) -> CertificateAuthority:
    return CertificateAuthority(folder / "pki", now=now)


def certificate(identity: Identity) -> x509.Certificate:
    return x509.load_pem_x509_certificate(identity.certificate.read_bytes())


def test_a_sites_certificate_carries_its_name_and_a_private_key_file(tmp_path: Path) -> None:
    identity = authority(tmp_path).site("cbs-001")
    names = certificate(identity).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    assert [name.value for name in names] == ["cbs-001"]
    assert stat.S_IMODE(identity.key.stat().st_mode) == 0o600
    ssl.create_default_context(cafile=str(identity.authority)).load_cert_chain(
        identity.certificate, identity.key
    )


@pytest.mark.parametrize(
    "name", ["svc-control", "fleet", "check", "a/b", "a+", "#", "", "../x", "a b", "x" * 64, "-a", "cbs\n"]
)
def test_a_site_cannot_have_a_services_name_or_one_that_the_topics_would_read_otherwise(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(IdentityError):
        authority(tmp_path).site(name)


def test_a_service_cannot_have_a_sites_name(tmp_path: Path) -> None:
    with pytest.raises(IdentityError):
        authority(tmp_path).service("cbs-001")


def test_a_later_start_reuses_what_is_good_for_30_days_and_renews_the_rest(tmp_path: Path) -> None:
    first = certificate(authority(tmp_path).site("cbs-001"))
    assert first.not_valid_after_utc == NOW + timedelta(days=365)
    kept = authority(tmp_path, NOW + timedelta(days=334)).site("cbs-001")  # 31 days left
    assert certificate(kept) == first
    renewed = authority(tmp_path, NOW + timedelta(days=335)).site("cbs-001")  # 30 days left
    assert certificate(renewed).not_valid_after_utc == NOW + timedelta(days=700)


def test_a_certificate_of_another_authority_or_a_torn_file_is_issued_again(tmp_path: Path) -> None:
    ours, theirs = authority(tmp_path), authority(tmp_path / "other")
    identity, foreign = ours.site("cbs-001"), theirs.site("cbs-001")
    identity.certificate.write_bytes(foreign.certificate.read_bytes())
    assert certificate(ours.site("cbs-001")).issuer == certificate(identity).issuer
    certificate(ours.site("cbs-001")).verify_directly_issued_by(
        x509.load_pem_x509_certificate(ours.path.read_bytes())
    )
    identity.key.write_bytes(b"")
    again = ours.site("cbs-001")
    ssl.create_default_context(cafile=str(again.authority)).load_cert_chain(again.certificate, again.key)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    identity = authority(tmp_path).service(CONTROL)
    identity.key.chmod(0o640)
    with pytest.raises(UnsafeFileError, match="chmod 600"):
        authority(tmp_path).service(CONTROL)


def test_the_server_is_known_by_address_and_name(tmp_path: Path) -> None:
    found = certificate(authority(tmp_path).server()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert found.value.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(address) for address in found.value.get_values_for_type(x509.IPAddress)] == [
        "127.0.0.1",
        "::1",
    ]


def test_ingest_workers_have_names_of_their_own() -> None:
    assert (ingest_worker(0), ingest_worker(3)) == ("svc-ingest", "svc-ingest-3")
    with pytest.raises(IdentityError):
        ingest_worker(16)


def test_a_withdrawn_certificate_is_listed_and_a_new_one_issued(tmp_path: Path) -> None:
    ours = authority(tmp_path)
    stolen = certificate(ours.site("cbs-001"))
    ours.revoke("cbs-001")
    later = authority(tmp_path, NOW + timedelta(days=1))
    revocations = x509.load_pem_x509_crl(later.revocations_path.read_bytes())
    assert [each.serial_number for each in revocations] == [stolen.serial_number]
    assert certificate(later.site("cbs-001")) != stolen


@pytest.mark.parametrize("name", ["cbs-001", "../ca"])
def test_what_was_never_issued_cannot_be_withdrawn(tmp_path: Path, name: str) -> None:
    with pytest.raises(IdentityError, match="no certificate"):
        authority(tmp_path).revoke(name)
