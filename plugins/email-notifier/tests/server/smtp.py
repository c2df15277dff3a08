"""A mail server that shares no code with the plugin: aiosmtpd, with Python's own TLS and reader of mail.

Argument: a JSON object. `security`: none, starttls, tls; `cert`, `private_key`: files for TLS; `user`, `password`: who may
log in, and must. `faults`: what to do at the nth occasion; each an object with `at` (connect, mail, rcpt, data, noop), and
`say`: a reply instead of the usual one, or `do`: hang, die (close the connection), trickle (a byte of the reply every 100 ms).
`times`: how often, 1 when absent. `only`: for this recipient. An occasion uses up the first fault for its place.
Writes one JSON object a line: first its port, then logins, messages, connections.
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

OPTIONS = json.loads(sys.argv[1])
FAULTS = OPTIONS.get("faults", [])


def say(value):
    print(json.dumps(value), flush=True)


def fault_at(place, recipient=None):
    for fault in FAULTS:
        if fault["at"] == place and fault.get("times", 1) > 0 and fault.get("only", recipient) == recipient:
            fault["times"] = fault.get("times", 1) - 1
            return fault
    return None


async def suffer(server, fault):
    """The reply to give, unless none is to be given."""
    say({"fault": fault["at"]})
    if fault.get("do") == "hang":
        await asyncio.sleep(60)
    if fault.get("do") == "die":
        server.transport.abort()
        await asyncio.sleep(60)
    if fault.get("do") == "trickle":
        for _ in range(600):
            server._writer.write(b"2")
            await asyncio.sleep(0.1)
    return fault["say"]


def described(envelope):
    """The message as a mail program reads it."""
    message = email.message_from_bytes(envelope.original_content, policy=email.policy.default)
    parts = [part for part in message.walk() if not part.is_multipart()]
    return {
        "from": envelope.mail_from,
        "to": envelope.rcpt_tos,
        "options": envelope.mail_options,
        "headers": {name.lower(): str(value) for name, value in message.items()},
        "type": message.get_content_type(),
        "parts": {part.get_content_type(): part.get_content() for part in parts},
        "defects": [str(defect) for part in message.walk() for defect in part.defects],
        "bytes": len(envelope.original_content),
    }


def is_encrypted(server):
    return server.transport.get_extra_info("ssl_object") is not None


class Handler:
    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        session.host_name = hostname
        say({"ehlo": hostname, "encrypted": is_encrypted(server)})
        return responses

    async def handle_MAIL(self, server, session, envelope, address, options):
        if fault := fault_at("mail"):
            return await suffer(server, fault)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if fault := fault_at("rcpt", address):
            return await suffer(server, fault)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        fault = fault_at("data")
        # One that dies has kept the message, and could not say so.
        is_kept = fault is None or fault.get("do") == "die"
        say({"message": described(envelope), "encrypted": is_encrypted(server), "kept": is_kept})
        return await suffer(server, fault) if fault else "250 2.0.0 Ok: queued as 4XYZ"

    async def handle_NOOP(self, server, session, envelope, argument):
        fault = fault_at("noop")
        return await suffer(server, fault) if fault else "250 OK"


def authenticate(server, session, envelope, mechanism, login):
    given = (login.login.decode(), login.password.decode())
    is_right = given == (OPTIONS.get("user"), OPTIONS.get("password"))
    say({"login": mechanism, "right": is_right, "encrypted": is_encrypted(server)})
    if is_right:
        return AuthResult(success=True, auth_data=given[0])
    return AuthResult(success=False, handled=False, message=f"535 5.7.8 Wrong: {given[1]}")


class Server(SMTP):
    async def _handle_client(self):
        say({"connected": True})
        fault = fault_at("connect")
        if fault is None:
            return await super()._handle_client()
        reply = await suffer(self, fault)
        self._writer.write(reply.encode() + b"\r\n")
        await self._writer.drain()
        return self.transport.close()

    async def smtp_DATA(self, arg):
        """As the parent's, except that a server can die when half of a message is there."""
        if any(fault["at"] == "half" and fault.get("times", 1) > 0 for fault in FAULTS):
            fault_at("half")
            await self.push("354 Go on")
            await self._reader.read(100)
            say({"fault": "half"})
            self.transport.abort()
            return
        await super().smtp_DATA(arg)


async def main():
    security = OPTIONS.get("security", "none")
    context = None
    if security != "none":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(OPTIONS["cert"], OPTIONS["private_key"])
    needs_login = "user" in OPTIONS

    def factory():
        return Server(
            Handler(),
            enable_SMTPUTF8=OPTIONS.get("utf8", True),
            tls_context=context if security == "starttls" else None,
            require_starttls=security == "starttls",
            authenticator=authenticate,
            auth_required=needs_login,
            auth_require_tls=security == "starttls",
            auth_exclude_mechanism=OPTIONS.get("without", []),
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, "127.0.0.1", OPTIONS.get("port", 0), ssl=context if security == "tls" else None)
    say({"port": server.sockets[0].getsockname()[1]})
    await server.serve_forever()


asyncio.run(main())
