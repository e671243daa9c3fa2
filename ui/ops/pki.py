"""A small certificate authority, made on first start: who may speak to the broker, and under which name.

The broker takes the common name of a client's certificate for its user name, so the name that goes in here is what the
access rules go by. A site cannot get a service's name, nor a word that is part of the topic tree.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ui.ops.files import create_once, private_folder, require_private, write_atomic

INGEST = "svc-ingest"
CONTROL = "svc-control"
CHECK = "svc-check"
INGEST_WORKERS = 16  # identities for workers that share the load; the broker knows them all

_SITE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_SERVICE = re.compile(r"svc-[a-z0-9-]{1,40}")
_SERVICE_PREFIX = "svc-"
_RESERVED = frozenset({"fleet", "check", "server", "ca"})
_AUTHORITY_LIFE = timedelta(days=3650)
_LIFE = timedelta(days=365)
_RENEW_BEFORE = timedelta(days=30)
_CLOCK_SKEW = timedelta(hours=1)  # a site whose clock is a little behind still accepts a new certificate


class IdentityError(ValueError):
    """A name that no certificate may carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A certificate with its key, on disk."""

    name: str  # the common name
    authority: Path
    certificate: Path
    key: Path


def ingest_worker(number: int) -> str:
    """Name of an ingest worker, 0 .. INGEST_WORKERS - 1; each needs its own, or they would take over each other's session."""
    if not 0 <= number < INGEST_WORKERS:
        raise IdentityError(f"ingest worker {number} is outside 0..{INGEST_WORKERS - 1}")
    return INGEST if number == 0 else f"{INGEST}-{number}"


class CertificateAuthority:
    """Issues certificates into a folder and renews those with less than 30 days left."""

    def __init__(self, folder: Path, *, now: datetime) -> None:
        """Open the authority, making it on first start.

        Args:
            folder: Private; holds everything.
            now: Aware UTC wall time: TLS goes by it.
        """
        self._folder = private_folder(folder)
        self._now = now
        key_path = folder / "ca.key"
        self._key = _load_key(create_once(key_path, lambda: _pem(ec.generate_private_key(ec.SECP256R1()))))
        require_private(key_path)
        self.path = folder / "ca.crt"
        if not self._authority_holds():
            write_atomic(self.path, _certificate_pem(self._make_authority()), mode=0o644)
        self._certificate = x509.load_pem_x509_certificate(self.path.read_bytes())
        self.revocations_path = folder / "ca.crl"
        self._revoked = self._read_revocations()
        self._write_revocations()

    def server(self, names: Sequence[str] = ("localhost", "127.0.0.1", "::1")) -> Identity:
        """Certificate of the broker for these host names and addresses."""
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        return self._identity("server", self._folder, ExtendedKeyUsageOID.SERVER_AUTH, alternatives)

    def site(self, site_id: str) -> Identity:
        """Certificate of one site.

        Raises:
            IdentityError: The name belongs to a service or to the topic tree, or holds other characters than
                letters, digits, `_`, `.` and `-`.
        """
        if not _SITE_ID.fullmatch(site_id) or site_id.startswith(_SERVICE_PREFIX) or site_id in _RESERVED:
            raise IdentityError(f"{site_id!r} cannot be a site's name at the broker")
        return self._client(site_id)

    def service(self, name: str) -> Identity:
        """Certificate of one of our own processes (`svc-...`).

        Raises:
            IdentityError: Not a service's name.
        """
        if not _SERVICE.fullmatch(name):
            raise IdentityError(f"{name!r} is not a service's name")
        return self._client(name)

    def revoke(self, name: str) -> None:
        """Withdraw the certificate of a client, for instance of a stolen controller.

        The broker must be started again: it reads the list at its start, and a standing connection is not cut by it.
        The next `site` or `service` call issues a new certificate under the same name.

        Raises:
            IdentityError: No certificate was issued under this name.
        """
        path = self._folder / "clients" / f"{name}.crt"
        if "/" in name or not path.exists():
            raise IdentityError(f"no certificate was issued to {name!r}")
        withdrawn = (
            x509.RevokedCertificateBuilder()
            .serial_number(x509.load_pem_x509_certificate(path.read_bytes()).serial_number)
            .revocation_date(self._now)
            .build()
        )
        self._revoked.append(withdrawn)
        self._write_revocations()

    def _read_revocations(self) -> list[x509.RevokedCertificate]:
        """What was withdrawn so far; a list of another authority (its key was made anew) counts for nothing."""
        if not self.revocations_path.exists():
            return []
        found = x509.load_pem_x509_crl(self.revocations_path.read_bytes())
        return list(found) if found.is_signature_valid(self._key.public_key()) else []

    def _write_revocations(self) -> None:
        # Written at each start with a far end: a broker refuses every client once its list has run out.
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(self._now - _CLOCK_SKEW)
            .next_update(self._now + _AUTHORITY_LIFE)
        )
        for each in self._revoked:
            builder = builder.add_revoked_certificate(each)
        signed = builder.sign(self._key, hashes.SHA256())
        write_atomic(self.revocations_path, signed.public_bytes(serialization.Encoding.PEM), mode=0o644)

    def _client(self, name: str) -> Identity:
        return self._identity(
            name, private_folder(self._folder / "clients"), ExtendedKeyUsageOID.CLIENT_AUTH, None
        )

    def _identity(
        self,
        name: str,
        folder: Path,
        usage: x509.ObjectIdentifier,
        alternatives: x509.SubjectAlternativeName | None,
    ) -> Identity:
        found = Identity(
            name=name, authority=self.path, certificate=folder / f"{name}.crt", key=folder / f"{name}.key"
        )
        if not self._holds(found, alternatives):
            key = ec.generate_private_key(ec.SECP256R1())
            issued = self._issue(name, key.public_key(), usage, alternatives)
            # Not waited for: a certificate lost in a power failure is issued again at the next start.
            write_atomic(found.key, _pem(key), durable=False)
            write_atomic(found.certificate, _certificate_pem(issued), mode=0o644, durable=False)
        return found

    def _holds(self, identity: Identity, alternatives: x509.SubjectAlternativeName | None) -> bool:
        """Whether what lies on disk is whole, ours, a pair, for the same hosts, and good for another 30 days."""
        if not (identity.certificate.exists() and identity.key.exists()):
            return False
        require_private(identity.key)
        try:
            certificate = x509.load_pem_x509_certificate(identity.certificate.read_bytes())
            certificate.verify_directly_issued_by(self._certificate)
            pair = _load_key(identity.key.read_bytes()).public_key() == certificate.public_key()
            withdrawn = any(each.serial_number == certificate.serial_number for each in self._revoked)
            same_hosts = alternatives is None or (
                certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
                == alternatives
            )
        except Exception:  # noqa: BLE001 whatever is wrong with it (torn, foreign, forged), it is issued again
            return False
        return (
            pair
            and same_hosts
            and not withdrawn
            and certificate.not_valid_after_utc - self._now > _RENEW_BEFORE
        )

    def _issue(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey,
        usage: x509.ObjectIdentifier,
        alternatives: x509.SubjectAlternativeName | None,
    ) -> x509.Certificate:
        builder = (
            _builder(name, key, self._now, _LIFE)
            .issuer_name(self._certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if alternatives is not None:
            builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _make_authority(self) -> x509.Certificate:
        return (
            _builder("CellWatt certificate authority", self._key.public_key(), self._now, _AUTHORITY_LIFE)
            .issuer_name(_name("CellWatt certificate authority"))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def _authority_holds(self) -> bool:
        if not self.path.exists():
            return False
        certificate = x509.load_pem_x509_certificate(self.path.read_bytes())
        return (
            certificate.public_key() == self._key.public_key()
            and certificate.not_valid_after_utc - self._now > _LIFE + _RENEW_BEFORE
        )


def _builder(
    name: str, key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the key is not an elliptic-curve key")
    return key
