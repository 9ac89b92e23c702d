"""A mail server of others (aiosmtpd) that demands STARTTLS and a login; prints each mail that it took as one line of JSON.

Usage: mail_server.py CERTIFICATE KEY USER PASSWORD. The first line it prints is its port; it ends with its standard input.
"""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    async def handle_DATA(self, server, session, envelope):
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "data": envelope.content.decode("utf-8", "replace"),
            "tls": session.ssl is not None,
            "authenticated": session.authenticated,
        }
        print(json.dumps(mail), flush=True)
        return "250 OK"


def main():
    certificate, key, user, password = sys.argv[1:]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    def authenticator(server, session, envelope, mechanism, data):
        fits = mechanism in ("LOGIN", "PLAIN") and (data.login, data.password) == (user.encode(), password.encode())
        # Not handled: the server itself is to say that it refuses.
        return AuthResult(success=fits, handled=False)

    def session():
        return SMTP(Handler(), tls_context=context, require_starttls=True, auth_required=True, authenticator=authenticator)

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(session, host="127.0.0.1", port=0))
    print(server.sockets[0].getsockname()[1], flush=True)
    loop.run_until_complete(loop.run_in_executor(None, sys.stdin.read))
    server.close()


main()
