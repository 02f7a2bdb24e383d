"""A mail server that keeps what it is sent: smtp_sink.py DIR PORT MODE [CERTIFICATE KEY].

MODE is none, starttls or implicit. The port goes to DIR/port (0 = any), each mail to DIR/N.eml, with its envelope in
headers X-From and X-To. What the test puts into DIR while it runs: `password` (USER:PASSWORD, without which nothing is
taken), `hold` (mails are kept and not answered while it is there), `reject` (a text; mails with it are refused),
`unknown` (a recipient who is refused).
"""

import base64
import os
import socket
import ssl
import sys
import threading
import time

DIR, PORT, MODE = sys.argv[1], int(sys.argv[2]), sys.argv[3]
TLS = None
if MODE != "none":
    TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    TLS.load_cert_chain(sys.argv[4], sys.argv[5])
LOCK = threading.Lock()
COUNT = 0


def setting(name):
    try:
        with open(os.path.join(DIR, name)) as file:
            return file.read().strip()
    except FileNotFoundError:
        return None


def keep(sender, to, data):
    global COUNT
    with LOCK:
        COUNT = len([name for name in os.listdir(DIR) if name.endswith(".eml")]) + 1
        path = os.path.join(DIR, f"{COUNT}.eml")
        with open(path + ".new", "wb") as file:
            file.write(f"X-From: {sender}\r\nX-To: {' '.join(to)}\r\n".encode() + data)
        os.rename(path + ".new", path)
        return COUNT


def serve(client):
    if MODE == "implicit":
        client = TLS.wrap_socket(client, server_side=True)
    file = client.makefile("rb")
    say = lambda text: client.sendall(text.encode() + b"\r\n")
    sender, to, known = None, [], setting("password") is None
    say("220 sink ESMTP")
    while line := file.readline():
        text = line.decode(errors="replace").strip()
        verb = text.upper()
        if verb.startswith(("EHLO", "HELO")):
            more = ["STARTTLS"] if MODE == "starttls" and not isinstance(client, ssl.SSLSocket) else []
            more += ["AUTH PLAIN"] if setting("password") else []
            for one in ["sink", *more]:
                say("250-" + one)
            say("250 8BITMIME")
        elif verb == "STARTTLS" and MODE == "starttls":
            say("220 go ahead")
            client = TLS.wrap_socket(client, server_side=True)
            file = client.makefile("rb")
        elif verb.startswith("AUTH PLAIN "):
            _, user, password = base64.b64decode(text[11:]).decode().split("\0")
            known = f"{user}:{password}" == setting("password")
            say("235 2.7.0 welcome" if known else "535 5.7.8 wrong \x1b[31mpassword")
        elif not known and verb.startswith(("MAIL", "RCPT", "DATA")):
            say("530 5.7.0 log in first")
        elif verb.startswith("MAIL FROM:"):
            sender, to = text[10:].split()[0], []
            say("250 2.1.0 ok")
        elif verb.startswith("RCPT TO:"):
            if setting("unknown") and setting("unknown") in text:
                say("550 5.1.1 nobody of that name")
                continue
            to.append(text[8:])
            say("250 2.1.5 ok")
        elif verb == "DATA":
            say("354 go ahead")
            data = b""
            while (line := file.readline()) not in (b".\r\n", b""):
                data += line[1:] if line.startswith(b".") else line
            if setting("reject") and setting("reject").encode() in data.replace(b"=\r\n", b""):
                say("554 5.7.1 this looks like spam")
                continue
            number = keep(sender, to, data)
            while setting("hold") is not None:
                time.sleep(0.01)
            say(f"250 2.0.0 queued as {number}")
        elif verb == "QUIT":
            say("221 bye")
            break
        else:
            say("502 5.5.2 what?")
    client.close()


def attend(client):
    try:
        serve(client)
    except OSError:
        pass


server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", PORT))
server.listen()
with open(os.path.join(DIR, "port.new"), "w") as file:
    file.write(str(server.getsockname()[1]))
os.rename(os.path.join(DIR, "port.new"), os.path.join(DIR, "port"))
while True:
    threading.Thread(target=attend, args=(server.accept()[0],), daemon=True).start()
