"""Connects to a socket of Airlock's and becomes a server that has it as its standard input and output.

usage: dial-in.py SOCKET PROGRAM [ARGUMENT]...
"""

import os
import socket
import sys

wire = socket.socket(socket.AF_UNIX)
wire.connect(sys.argv[1])
os.dup2(wire.fileno(), 0)
os.dup2(wire.fileno(), 1)
os.execvp(sys.argv[2], sys.argv[2:])
