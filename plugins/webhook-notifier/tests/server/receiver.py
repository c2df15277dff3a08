"""A webhook receiver that shares no code with the plugin: Python's own HTTP server, HMAC and TLS.

Argument: a JSON object. `answers`: what to do with the nth message, the last one again for all that follow; each an object
with `status`, `headers`, `body`, or `do`: hang, reset. `key`: base64 of the key with which messages must be signed; others
are refused with 401. `forget`: answers that it took a message and does not keep it. `cert`, `private_key`: files for TLS.
Writes one JSON object a line: first its port, then each request.
"""

import base64
import hashlib
import hmac
import http.server
import json
import socket
import ssl
import struct
import sys
import threading
import time

OPTIONS = json.loads(sys.argv[1])
LOCK = threading.Lock()
KEPT = {}
COUNT = 0
ENDS = threading.Event()


def say(value):
    with LOCK:
        print(json.dumps(value), flush=True)


def is_signed_well(headers, body):
    """As the specification of Standard Webhooks tells receivers to check."""
    key = base64.b64decode(OPTIONS["key"])
    signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    given = [part.split(",", 1)[1] for part in headers.get("webhook-signature", "").split() if part.startswith("v1,")]
    is_fresh = abs(time.time() - int(headers["webhook-timestamp"])) < 60
    return is_fresh and any(hmac.compare_digest(wanted, signature) for signature in given)


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, body=b"", headers=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.reply(404)

    def do_GET(self):
        say({"method": "GET", "path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}})
        self.reply(200 if self.path.rsplit("/", 1)[-1] in KEPT else 404)

    def message(self):
        global COUNT
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with LOCK:
            number, COUNT = COUNT, COUNT + 1
        headers = {name.lower(): value for name, value in self.headers.items()}
        valid = is_signed_well(headers, body) if "key" in OPTIONS else None
        say({"method": self.command, "path": self.path, "headers": headers, "body": body.decode(), "valid": valid})
        if valid is False:
            return self.reply(401, b"bad signature")
        answers = OPTIONS["answers"]
        answer = answers[min(number, len(answers) - 1)]
        if answer.get("do") == "hang":
            ENDS.wait(60)
            self.close_connection = True
            return None
        if answer.get("do") == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return None
        status = answer.get("status", 200)
        if status // 100 == 2 and not OPTIONS.get("forget"):
            KEPT[headers["webhook-id"]] = body
        return self.reply(status, answer.get("body", "").encode(), answer.get("headers"))

    do_POST = do_PUT = do_PATCH = message

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Clients that go away are what some tests are about."""


server = Server(("127.0.0.1", 0), Receiver)
if "cert" in OPTIONS:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(OPTIONS["cert"], OPTIONS["private_key"])
    # The handshake belongs to the connection's own thread.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
say({"port": server.server_address[1]})
threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
server.serve_forever()
