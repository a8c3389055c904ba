"""TLS over memory, so that the bytes keep the times that the kernel gave them."""

from __future__ import annotations

import ssl

from .plan import Target

_PIECE = 256 * 1024


def context(target: Target) -> ssl.SSLContext:
    """What the target's certificate is checked with. Raises OSError or ssl.SSLError for an unusable CA file."""
    made = ssl.create_default_context(cafile=target.ca or None)
    if not target.verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    made.set_alpn_protocols(["http/1.1"])
    return made


def reason(error: BaseException) -> str:
    """Why TLS failed, in one line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return str(error.reason or error).replace("_", " ").lower()
    return str(error)


class Tunnel:
    """One side of a TLS connection; the caller moves the encrypted bytes."""

    def __init__(self, made: ssl.SSLContext, host: str) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = made.wrap_bio(self._in, self._out, server_hostname=host)

    def feed(self, data: bytes | memoryview) -> None:
        """Take in encrypted bytes."""
        self._in.write(data)

    def handshake(self) -> bool:
        """Go on with the handshake; whether it is done. Raises ssl.SSLError."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def pending(self) -> bytes:
        """Encrypted bytes that are to be sent."""
        return self._out.read()

    def encrypt(self, data: bytes) -> bytes:
        """Plain bytes to encrypted ones."""
        self._object.write(data)
        return self._out.read()

    def decrypt(self, data: bytes) -> tuple[bytes, bool]:
        """Plain bytes that these complete, and whether the other side ended. Raises ssl.SSLError."""
        self._in.write(data)
        found: list[bytes] = []
        try:
            while True:
                piece = self._object.read(_PIECE)
                if not piece:
                    return b"".join(found), True
                found.append(piece)
        except ssl.SSLWantReadError:
            return b"".join(found), False
        except ssl.SSLZeroReturnError:
            return b"".join(found), True
