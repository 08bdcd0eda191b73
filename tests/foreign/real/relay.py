"""An HTTP proxy by which Salesforce's names lead to the simulator.

Real clients log in at https://login.salesforce.com and want tokens from a host with a Salesforce name. Through this
proxy they do so with no line in /etc/hosts and no root, and nothing leaves the machine: TLS runs from the client to the
simulator, which shows a certificate for the name that was asked for.
"""

import contextlib
import socket
import socketserver
import threading


class Tunnel(socketserver.StreamRequestHandler):
    """One CONNECT request."""

    # What follows the request belongs to the tunnel: nothing may be read ahead.
    rbufsize = 0

    def handle(self):
        method, authority, _ = self.rfile.readline().decode("ascii").split()
        while self.rfile.readline().strip():
            pass
        if method != "CONNECT" or not authority.rpartition(":")[0].endswith(".salesforce.com"):
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", self.server.simulator_port)) as simulator:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pour, args=[simulator, self.connection])
            back.start()
            pour(self.connection, simulator)
            back.join()


def pour(source, sink):
    """Copies until the source ends, and lets the sink end with it."""
    # Either side may be gone at any time; the other then learns of it.
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class Relay(socketserver.ThreadingTCPServer):
    """Listens on a free port of 127.0.0.1 from the beginning of a `with` to its end."""

    daemon_threads = True

    def __init__(self, simulator_port):
        super().__init__(("127.0.0.1", 0), Tunnel)
        self.simulator_port = simulator_port
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.thread = threading.Thread(target=self.serve_forever)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.thread.join()
        # Does not wait for tunnels: a client may keep one for as long as it runs.
        socketserver.TCPServer.server_close(self)
