"""A client: reads one JSON request a line, carries it out, and answers one JSON line.

login   {src, dst, user|user_hex, tries: [password], prompted: [bool]}
                                                       one connection, one try each, by password or keyboard-interactive;
                                                       answers "ok" or what went wrong, by try
raw     {src, dst, send_hex}                           sends bytes in place of a banner, waits for the end
kex     {src, dst, offer_hex}                          offers one key exchange by that name
leave   {src, dst, text_hex}                           disconnects with that description after the key exchange
banner  {src, dst}                                     what the server says first, "closed", or "silent"
udp     {src, dst, port, send_hex}                     one datagram
hold    {src, dst, port}                               opens a connection that stays
say     {send_hex}                                     sends bytes by the one that stays
hammer  {src, dst, port, until, bound_s}               connects every 2 ms until "silent", "open", or, with "stop", the next line
(as arguments: listen PORT)                            accepts and closes for ever, after saying "listening"
(as arguments: relay PATH)                             copies stdin to a unix stream socket
"""

import errno
import json
import logging
import os
import select
import signal
import socket
import struct
import sys
import time

logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False


def data(ask, key):
    return bytes.fromhex(ask[key + "_hex"]) if key + "_hex" in ask else ask[key].encode()


def unconnected(src, kind=socket.SOCK_STREAM):
    family = socket.AF_INET6 if ":" in src else socket.AF_INET
    s = socket.socket(family, kind)
    s.bind((src, 0))
    return s


def connected(ask, timeout=5):
    s = unconnected(ask["src"])
    s.settimeout(timeout)
    s.connect((ask["dst"], ask.get("port", 22)))
    return s


def drain(s, timeout=5):
    s.settimeout(timeout)
    try:
        while s.recv(65536):
            pass
    except OSError:
        pass
    s.close()


def transport(ask):
    import paramiko

    t = paramiko.Transport(connected(ask))
    t.banner_timeout = 10
    t.start_client(timeout=10)
    return t


def login(ask):
    out = []
    try:
        t = transport(ask)
    except Exception as e:
        return ["no connection: " + type(e).__name__ + " " + str(e)]
    try:
        for password, prompted in zip(ask["tries"], ask.get("prompted", [False] * len(ask["tries"]))):
            try:
                if prompted:
                    t.auth_interactive(ask["user"], lambda title, text, prompts: [password] * len(prompts))
                else:
                    t.auth_password(data(ask, "user"), password, fallback=False)
                channel = t.open_session(timeout=10)
                channel.exec_command("true")
                out.append("ok" if channel.recv_exit_status() == 0 else "no session")
            except Exception as e:
                out.append(type(e).__name__ + ": " + str(e))
    finally:
        t.close()
    return out


def raw(ask):
    s = connected(ask)
    s.sendall(data(ask, "send"))
    s.shutdown(socket.SHUT_WR)
    drain(s)


def kex(ask):
    s = connected(ask)
    s.recv(256)
    s.sendall(b"SSH-2.0-client\r\n")
    names = [data(ask, "offer"), b"ssh-ed25519", b"aes128-ctr", b"aes128-ctr", b"hmac-sha2-256", b"hmac-sha2-256", b"none", b"none", b"", b""]
    body = b"\x14" + os.urandom(16) + b"".join(struct.pack(">I", len(n)) + n for n in names) + b"\0" * 5
    pad = 8 - (len(body) + 5) % 8
    pad += 8 if pad < 4 else 0
    s.sendall(struct.pack(">IB", len(body) + pad + 1, pad) + body + b"\0" * pad)
    drain(s)


def leave(ask):
    import paramiko

    t = transport(ask)
    m = paramiko.Message()
    m.add_byte(b"\x01")
    m.add_int(11)
    m.add_string(data(ask, "text"))
    m.add_string("en")
    t._send_user_message(m)
    t.join(5)
    t.close()


def banner(ask):
    try:
        s = connected(ask, ask.get("bound_s", 3))
        said = s.recv(256)
        s.close()
        return said.decode(errors="replace").strip() or "closed"
    except socket.timeout:
        return "silent"
    except OSError as e:
        return "closed" if e.errno == errno.ECONNRESET else str(e)


def udp(ask):
    s = unconnected(ask["src"], socket.SOCK_DGRAM)
    s.sendto(data(ask, "send"), (ask["dst"], ask["port"]))


held = None


def hold(ask):
    global held
    held = connected(ask)


def say(ask):
    held.sendall(data(ask, "send"))


def hammer(ask):
    """A try is silent if it is not open after 300 ms. Times are when tries began."""
    end = time.time() + ask["bound_s"]
    waiting, opened, silent = {}, 0, 0
    last_open, first_silent, ended = None, None, "bound"
    family = socket.AF_INET6 if ":" in ask["src"] else socket.AF_INET
    while time.time() < end:
        s = socket.socket(family, socket.SOCK_STREAM)
        s.setblocking(False)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.bind((ask["src"], 0))
        began = time.time()
        s.connect_ex((ask["dst"], ask["port"]))
        waiting[s] = began
        readable, writable, _ = select.select([sys.stdin] if ask["until"] == "stop" else [], list(waiting), [], 0.002)
        for s in writable:
            began = waiting.pop(s)
            if s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                opened += 1
                if last_open is None or began > last_open:
                    last_open = began
                    if first_silent is not None and first_silent < began:
                        first_silent = None
            s.close()
        now = time.time()
        for s, began in list(waiting.items()):
            if now - began > 0.3:
                silent += 1
                del waiting[s]
                s.close()
                if (last_open is None or began > last_open) and (first_silent is None or began < first_silent):
                    first_silent = began
        if readable:
            sys.stdin.readline()
            ended = "stop"
            break
        if ask["until"] == "open" and opened:
            ended = "open"
            break
        if ask["until"] == "silent" and first_silent is not None:
            ended = "silent"
            break
        time.sleep(0.002)
    for s in waiting:
        s.close()
    return {"ended": ended, "open": opened, "silent": silent, "last_open": last_open, "first_silent": first_silent}


def answer(value):
    print(json.dumps(value), flush=True)


def listen(ask):
    s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("::", ask["port"]))
    s.listen(1024)
    answer("listening")
    while True:
        s.accept()[0].close()


def relay(ask):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.connect(ask["path"])
    while chunk := os.read(0, 65536):
        s.sendall(chunk)


class Slow(Exception):
    pass


def slow(*_):
    raise Slow("45 s are over")


if sys.argv[1:2] == ["relay"]:
    relay({"path": sys.argv[2]})
    sys.exit()
if sys.argv[1:2] == ["listen"]:
    listen({"port": int(sys.argv[2])})
signal.signal(signal.SIGALRM, slow)
while line := sys.stdin.readline():
    ask = json.loads(line)
    signal.alarm(45)
    try:
        result = globals()[ask["do"]](ask)
    except Exception as e:
        result = {"error": type(e).__name__ + ": " + str(e)}
    signal.alarm(0)
    answer(result)
