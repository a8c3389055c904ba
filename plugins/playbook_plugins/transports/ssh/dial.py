"""A TCP connection from the node's side, as a real socket on ours."""

from __future__ import annotations

import contextlib
import socket
import threading

import paramiko
from playbook_kernel.api import Unreachable, current

from .connection import Connection, Patience

_PIECE = 32768


def dial(node: str, connection: Connection, host: str, port: int, timeout: float) -> socket.socket:
    """Open a channel to ``host:port`` and bridge it to a socket. Raises ConnectionError or Unreachable."""
    try:
        patience = Patience(timeout)
        channel = connection.transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=patience)
    except paramiko.ChannelException as error:
        raise ConnectionRefusedError(f"{host}:{port} as seen from {node}: {error.text}") from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        current().cancel.check()
        raise Unreachable(node, f"no connection to {host}:{port}: {str(error) or type(error).__name__}") from error
    ours, theirs = socket.socketpair()
    threading.Thread(target=_upwards, args=(theirs, channel), daemon=True, name="dial-up").start()
    threading.Thread(target=_downwards, args=(channel, theirs), daemon=True, name="dial-down").start()
    return ours


def _upwards(source: socket.socket, channel: paramiko.Channel) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        while data := source.recv(_PIECE):
            channel.sendall(data)
        channel.shutdown_write()


def _downwards(channel: paramiko.Channel, target: socket.socket) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        while data := channel.recv(_PIECE):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
    target.close()
    channel.close()
