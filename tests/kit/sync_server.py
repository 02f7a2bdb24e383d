"""A server of DenyHosts' kind, as its protocol has it, that does what files in its directory say: sync_server.py DIR PORT MODE
[CERTIFICATE KEY].

MODE is none or tls. The port goes to DIR/port (0 = any). Each call is a line of DIR/calls: its name and parameters as JSON.
Files that change what it does:
  hosts   whom it hands out, a line each: TIME HOST; those after the time that is asked for, at most 50, and the last one's time
  now     its clock; without it the real one
  int     its timestamps are ints, not strings
  ipv6    it takes IPv6
  bad     hosts that it does not take
  fault   CODE TEXT: all it answers is that
  full    it adds nobody: its database is locked
  silent  a host that it does not take is not named
  raw     all it answers is that, as it is
  hold    what it is told is kept, and not acknowledged while this file is there; DIR/held says that somebody waits
"""

import gzip
import http.server
import ipaddress
import json
import os
import ssl
import sys
import time
import xmlrpc.client

DIR, PORT, MODE = sys.argv[1], int(sys.argv[2]), sys.argv[3]


def path(name):
    return os.path.join(DIR, name)


def text(name):
    try:
        with open(path(name)) as file:
            return file.read()
    except FileNotFoundError:
        return None


def legal(host):
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if host in (text("bad") or "").split():
        return False
    return address.is_global and (address.version == 4 or text("ipv6") is not None)


def add(hosts):
    for host in hosts:
        if not legal(host):
            # denyhosts_sync says 101 of get_new_hosts alone.
            why = "(1406, \"Data too long\")" if text("silent") is not None else f'Illegal IP address "{host}".'
            raise xmlrpc.client.Fault(104, f"Error adding hosts: {why}")
        with open(path("added"), "a") as file:
            file.write(host + "\n")


def add_hosts(hosts):
    if text("full") is not None:
        raise xmlrpc.client.Fault(104, "Error adding hosts: database is locked")
    add(hosts)
    return 0


def get_new_hosts(timestamp, threshold, hosts_added, resiliency):
    try:
        timestamp, threshold, resiliency = int(timestamp), int(threshold), int(resiliency)
    except (TypeError, ValueError):
        raise xmlrpc.client.Fault(102, "Illegal parameters.")
    now = int(text("now") or time.time())
    if timestamp > now:
        raise xmlrpc.client.Fault(103, "Illegal timestamp.")
    for host in hosts_added:
        if not legal(host):
            raise xmlrpc.client.Fault(101, f'Illegal IP address "{host}".')
    rows = [line.split(" ", 1) for line in (text("hosts") or "").split("\n") if line]
    rows = [(int(at), host) for at, host in rows if int(at) > timestamp and host not in hosts_added][:50]
    answer = rows[-1][0] if rows else timestamp
    return {"timestamp": answer if text("int") is not None else str(answer), "hosts": [host for _, host in rows]}


METHODS = {"add_hosts": add_hosts, "get_new_hosts": get_new_hosts}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parameters, name = xmlrpc.client.loads(body)
        row = {"path": self.path, "name": name, "parameters": parameters, "token": self.headers.get("Authorization")}
        with open(path("calls"), "a") as file:
            file.write(json.dumps(row) + "\n")
        answer = text("raw")
        if answer is None:
            answer = self.answer(name, parameters)
        if os.path.exists(path("hold")):
            open(path("held"), "w").close()
            while os.path.exists(path("hold")):
                time.sleep(0.01)
        answer = answer.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            self.send_header("Content-Encoding", "gzip")
            answer = gzip.compress(answer)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def answer(self, name, parameters):
        try:
            fault = text("fault")
            if fault is not None:
                code, what = fault.split(" ", 1)
                raise xmlrpc.client.Fault(int(code), what)
            if name not in METHODS:
                raise xmlrpc.client.Fault(8001, f"procedure {name} not found")
            return xmlrpc.client.dumps((METHODS[name](*parameters),), methodresponse=True)
        except xmlrpc.client.Fault as fault:
            return xmlrpc.client.dumps(fault)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
server.daemon_threads = True
if MODE == "tls":
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[4], sys.argv[5])
    server.socket = tls.wrap_socket(server.socket, server_side=True)
with open(path("port.new"), "w") as file:
    file.write(str(server.server_address[1]))
os.rename(path("port.new"), path("port"))
server.serve_forever()
