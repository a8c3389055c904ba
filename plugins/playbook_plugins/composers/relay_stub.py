"""Pass the arguments and the three standard files to the socket of the first argument; exit with its answer."""

import array
import json
import os
import socket
import struct
import sys

with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    message = json.dumps(sys.argv[2:]).encode()
    files = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
    connection.sendmsg([struct.pack(">I", len(message)) + message], files)
    answer = connection.recv(16)
os._exit(int(answer or b"125"))
