"""A web server that keeps what is posted: http_sink.py DIR PORT MODE [CERTIFICATE KEY].

MODE is none or tls. The port goes to DIR/port (0 = any), each request to DIR/N.eml: its path and headers, an empty line, its
body. It answers with the status that DIR/status has, else 200.
"""

import http.server
import os
import ssl
import sys

DIR, PORT, MODE = sys.argv[1], int(sys.argv[2]), sys.argv[3]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        number = len([name for name in os.listdir(DIR) if name.endswith(".eml")]) + 1
        head = [f"Path: {self.path}", *(f"{name}: {value}" for name, value in self.headers.items())]
        with open(os.path.join(DIR, "new"), "wb") as file:
            file.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        os.rename(os.path.join(DIR, "new"), os.path.join(DIR, f"{number}.eml"))
        try:
            with open(os.path.join(DIR, "status")) as file:
                status = int(file.read())
        except FileNotFoundError:
            status = 200
        self.send_response(status, f"you said {self.path}")
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
if MODE == "tls":
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[4], sys.argv[5])
    server.socket = tls.wrap_socket(server.socket, server_side=True)
with open(os.path.join(DIR, "port.new"), "w") as file:
    file.write(str(server.server_address[1]))
os.rename(os.path.join(DIR, "port.new"), os.path.join(DIR, "port"))
server.serve_forever()
