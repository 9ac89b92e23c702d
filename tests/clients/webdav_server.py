"""A WebDAV server of others (wsgidav) on a port of this machine, on the folder that is named, for one person; told on one line, ended by end of input."""

import json
import sys
import threading

from cheroot import wsgi
from wsgidav.wsgidav_app import WsgiDAVApp

app = WsgiDAVApp(
    {
        "provider_mapping": {"/files": sys.argv[1]},
        "simple_dc": {"user_mapping": {"*": {"ann": {"password": sys.argv[2]}}}},
        "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
        "logging": {"enable": False},
        "verbose": 0,
    }
)
server = wsgi.Server(("127.0.0.1", 0), app)
server.prepare()
threading.Thread(target=server.serve, daemon=True).start()
print(json.dumps({"base": f"http://127.0.0.1:{server.bind_addr[1]}/files"}), flush=True)
sys.stdin.read()
server.stop()
