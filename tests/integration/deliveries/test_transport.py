"""One request to somebody else's server: pinned to what was judged, verified, and over in time."""

from __future__ import annotations

import datetime
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.psa.addresses import Outgoing
from services.psa.transport import NotAnswered, Transport
from tests.support.receiver import LOOPBACK, Receiver, receiver


def settings(seconds: float = 5, ca_file: str = "") -> Outgoing:
    """An operator who allows the loopback."""
    return Outgoing(networks=[LOOPBACK], seconds=seconds, ca_file=ca_file)


@contextmanager
def talker(*parts: bytes, pause: float = 0.0) -> Iterator[str]:
    """A server that says these bytes to whoever connects, with pauses, and then keeps the connection."""
    done = threading.Event()

    def serve() -> None:
        with listening:
            while not done.is_set():
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    for part in parts:
                        if done.wait(pause):
                            return
                        try:
                            connection.sendall(part)
                        except OSError:
                            break
                    done.wait(10)

    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        done.set()
        with suppress(OSError):  # it is closed when it was connected to and everything is said
            listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_a_name_is_looked_up_once_and_its_judged_address_called(endpoint: Receiver) -> None:
    """DNS rebinding: the name leads elsewhere the second time, and nobody asks a second time."""
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    url = endpoint.url.replace("127.0.0.1", "psa.example") + "/hooks"
    answer = Transport(settings(), resolve=rebinding).request("POST", url, headers={}, body=b"{}")
    assert (answer.status, asked) == (200, ["psa.example"])
    assert endpoint.got[0].headers["host"].startswith("psa.example:")


def test_a_private_address_is_never_connected_to(endpoint: Receiver) -> None:
    """Without the operator's word not even a packet goes there."""
    url = endpoint.url.replace("http://127.0.0.1", "https://psa.example")
    transport = Transport(Outgoing(), resolve=lambda *_: ["127.0.0.1"])
    with pytest.raises(NotAnswered, match="private network") as refused:
        transport.request("POST", url, headers={}, body=b"{}")
    assert not refused.value.sent
    assert endpoint.got == []


def test_the_next_address_is_tried_when_one_is_dead(endpoint: Receiver) -> None:
    """A name with several addresses works as long as one of them does."""
    url = endpoint.url.replace("127.0.0.1", "psa.example")
    transport = Transport(settings(), resolve=lambda *_: ["127.9.9.9", "127.0.0.1"])
    assert transport.request("POST", url, headers={}, body=b"{}").status == 200


@pytest.mark.parametrize(
    ("parts", "pause"),
    [
        ((), 0.0),
        ((b"HTTP/1.1 200 OK\r\n", *[b"X-Filler: 1\r\n"] * 200), 0.05),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", *[b"x"] * 200), 0.05),
    ],
    ids=["silent", "dripping-headers", "dripping-body"],
)
def test_a_request_is_over_when_its_time_is(parts: tuple[bytes, ...], pause: float) -> None:
    """Also when each single byte comes in time: the whole of it has one deadline."""
    with talker(*parts, pause=pause) as url:
        began = time.monotonic()
        with pytest.raises(NotAnswered, match=r"did not answer within 0\.5 s") as late:
            Transport(settings(0.5)).request("POST", url, headers={}, body=b"{}")
        assert time.monotonic() - began < 5
    assert late.value.sent


def test_nonsense_is_no_answer() -> None:
    """A server that does not speak HTTP is told apart from one that refuses."""
    with (
        talker(b"SSH-2.0-OpenSSH_9.6\r\n") as url,
        pytest.raises(NotAnswered, match="did not answer in HTTP"),
    ):
        Transport(settings(2)).request("POST", url, headers={}, body=b"{}")


def test_a_closed_port_was_never_sent_to(free_port: object) -> None:
    """So whoever must not do a thing twice knows that it was not done."""
    assert callable(free_port)
    with pytest.raises(NotAnswered, match=r"connection to 127\.0\.0\.1 failed") as refused:
        Transport(settings()).request("POST", f"http://127.0.0.1:{free_port()}", headers={}, body=b"{}")
    assert not refused.value.sent


def test_a_long_answer_is_cut(endpoint: Receiver) -> None:
    """Nobody fills our memory."""
    endpoint.answer = lambda _: (200, {}, b"x" * 1_000_000)
    answer = Transport(settings()).request("POST", endpoint.url, headers={}, body=b"{}", limit=100)
    assert len(answer.body) == 100


def certificate(folder: Path, name: str) -> Path:
    """A certificate for a name, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def test_the_certificate_is_checked_against_the_name(tmp_path: Path) -> None:
    """Pinning the address changes nothing about whom we trust: the name must match, and the issuer be known."""
    path = certificate(tmp_path, "psa.example")
    with receiver(path) as running:
        url = running.url.replace("127.0.0.1", "{}")

        def post(name: str, ca_file: str) -> int:
            transport = Transport(settings(ca_file=ca_file), resolve=lambda *_: ["127.0.0.1"])
            return transport.request("POST", url.format(name), headers={}, body=b"{}").status

        assert post("psa.example", str(path)) == 200
        with pytest.raises(NotAnswered, match=r"certificate of other\.example is not accepted"):
            post("other.example", str(path))
        with pytest.raises(NotAnswered, match=r"certificate of psa\.example is not accepted"):
            post("psa.example", "")
    assert len(running.got) == 1
