"""Real receivers of messages on this machine: a webhook, a mail server, one that hangs."""

import json
import socket
import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue

SECRET = "geheimnis"


class Webhook:
    """Takes what is posted to `url`; answers with `status`."""

    def __init__(self):
        self.status = 200
        self._came = Queue()
        self.tries = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"json://127.0.0.1:{self._server.server_port}/{SECRET}"

    def _handler(hook):  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.tries += 1
                self.send_response(hook.status)
                self.end_headers()
                if hook.status == 200:
                    hook._came.put(json.loads(body))

            def log_message(self, *_):
                pass

        return Handler

    def received(self, seconds=30.0):
        """Title and text of the next message; fails when none comes."""
        message = self._came.get(timeout=seconds)
        return message["title"], message["message"]

    def nothing_for(self, seconds):
        try:
            return self._came.get(timeout=seconds) is None
        except Empty:
            return True


@contextmanager
def webhook():
    hook = Webhook()
    thread = threading.Thread(target=hook._server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        hook._server.shutdown()
        hook._server.server_close()


@contextmanager
def hanging():
    """The URL of one that takes connections and never answers, and how many it has taken."""
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take():
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        yield f"json://127.0.0.1:{server.getsockname()[1]}/{SECRET}?rto=60&cto=60", taken
        server.shutdown(socket.SHUT_RDWR)
    for connection in taken:
        connection.close()


def nobody():
    """A URL at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"json://user:{SECRET}@127.0.0.1:{port}/"


@contextmanager
def mail_server():
    """A URL that sends mail, and the mails as they came, header lines and all."""
    mails = Queue()

    class Smtp(socketserver.StreamRequestHandler):
        def handle(self):
            self._say("220 here")
            while line := self.rfile.readline().decode().strip():
                word = line[:4].upper()
                if word == "DATA":
                    self._say("354 go on")
                    mails.put(b"".join(iter(self.rfile.readline, b".\r\n")))
                self._say({"QUIT": "221 bye"}.get(word, "250 ok"))
                if word == "QUIT":
                    return

        def _say(self, text):
            self.wfile.write(f"{text}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Smtp) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        port = server.server_address[1]
        yield (
            f"mailto://127.0.0.1:{port}?from=ckptd@example.com&to=me@example.com&mode=insecure",
            mails,
        )
        server.shutdown()
