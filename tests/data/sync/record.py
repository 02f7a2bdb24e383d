#!/usr/bin/env python3
"""Records what Python's own XML-RPC puts on the wire: xmlrpc.client as DenyHosts calls it, xmlrpc.server as a server of
denyhosts_sync's answers it.

usage: tests/data/sync/record.py DIRECTORY

NAME.request and NAME.answer are whole HTTP messages; `gzip` is a long answer, which Python compresses. The host and its
port, the date and Python's version differ from one recording to the next; nothing else does.
"""
import socket
import sys
import threading
import xmlrpc.client
import xmlrpc.server
from pathlib import Path

where = Path(sys.argv[1])
NOW = "1700000000"


class Server(xmlrpc.server.SimpleXMLRPCServer):
    def _dispatch(self, method, params):
        if method == "add_hosts":
            for host in params[0]:
                if host == "bad<host":
                    raise xmlrpc.client.Fault(101, 'Illegal IP address "%s".' % host)
            return 0
        if method == "get_new_hosts":
            if params[0] == 1:
                return {"timestamp": NOW, "hosts": []}
            if params[0] == 2:
                return {"timestamp": int(NOW), "hosts": ["192.0.2.%d" % n for n in range(1, 51)]}
            return {"timestamp": NOW, "hosts": ["192.0.2.7", "2001:db8::7"]}
        raise xmlrpc.client.Fault(8001, "procedure %s not found" % method)


class Handler(xmlrpc.server.SimpleXMLRPCRequestHandler):
    rpc_paths = ("/RPC2",)

    def log_message(self, *args):
        pass


def tee(listener, port, name):
    """Passes one connection on, and writes what each side said."""
    client, _ = listener.accept()
    server = socket.create_connection(("127.0.0.1", port))
    said = {client: b"", server: b""}

    def copy(source, sink):
        while data := source.recv(65536):
            said[source] += data
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    back = threading.Thread(target=copy, args=(server, client))
    back.start()
    copy(client, server)
    back.join()
    (where / (name + ".request")).write_bytes(said[client])
    (where / (name + ".answer")).write_bytes(said[server])


server = Server(("127.0.0.1", 0), requestHandler=Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
CALLS = {
    "add_hosts": ("add_hosts", ["192.0.2.6", "2001:db8::6"]),
    "add_hosts-fault": ("add_hosts", ["192.0.2.6", "bad<host"]),
    "get_new_hosts": ("get_new_hosts", 0, 3, ["192.0.2.6"], 18000),
    "get_new_hosts-none": ("get_new_hosts", 1, 3, [], 18000),
    "gzip": ("get_new_hosts", 2, 1, [], 0),
    "version_report": ("version_report", ["3.11.7", "3.1.1"]),
}
for name, (method, *params) in CALLS.items():
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=tee, args=(listener, server.server_address[1], name))
    thread.start()
    with xmlrpc.client.ServerProxy("http://127.0.0.1:%d" % listener.getsockname()[1]) as proxy:
        try:
            print(name, getattr(proxy, method)(*params))
        except xmlrpc.client.Fault as fault:
            print(name, fault)
    thread.join()
