#!/usr/bin/env python3
"""A client as DenyHosts has one (2.6 and 3.x), made from xmlrpc.client: what its work directory says is sent, what is new is
appended to it.

usage: tests/data/sync/client.py URL WORK_DIR THRESHOLD RESILIENCY [HEADER=VALUE…]
"""
import ssl
import sys
import xmlrpc.client
from pathlib import Path

url, work_dir, threshold, resiliency = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
headers = [tuple(pair.split("=", 1)) for pair in sys.argv[5:] if not pair.startswith("ca=")]
ca = [pair[3:] for pair in sys.argv[5:] if pair.startswith("ca=")]
context = ssl.create_default_context(cafile=ca[0]) if ca else None
server = xmlrpc.client.ServerProxy(url, headers=headers, context=context)

try:
    server.version_report(["3.11.7", "3.1.1"])
except xmlrpc.client.Fault as fault:
    assert fault.faultCode == 8001, fault

sent = []
waiting = work_dir / "sync-hosts"
if waiting.exists():
    sent = waiting.read_text().split()
    server.add_hosts(sent)
    waiting.unlink()

stamp = work_dir / "sync-timestamp"
since = int(stamp.read_text()) if stamp.exists() else 0
received = set()
while True:
    answer = server.get_new_hosts(since, threshold, sent, resiliency)
    # As DenyHosts writes it: what is no string raises.
    with stamp.open("w") as file:
        file.write(answer["timestamp"])
    new = set(answer["hosts"]) - received
    with (work_dir / "sync-received").open("a") as file:
        for host in answer["hosts"]:
            file.write(host + "\n")
    print("received %d new hosts" % len(new))
    # DenyHosts asks again in an hour; here, until there is no more.
    if not new:
        break
    received |= new
    since = int(answer["timestamp"])
