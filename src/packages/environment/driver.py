"""Does one step of making an environment, inside the sandbox, and prints what came of it as one line of JSON.

Runs on the machine's Python, isolated; never starts the environment's own Python once packages are in it, as that would run their code.
"""

import base64
import html.parser
import importlib.util
import json
import netrc
import os
import re
import ssl
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

MAX_PAGE = 48 << 20
MAX_WORDS = 64 << 10
OLDEST_PIP = (20, 3)
PAGE_TYPES = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode == 0, done.stdout[-MAX_WORDS:].decode("utf-8", "replace")


def pip_version(folder):
    try:
        with open(os.path.join(folder, "pip", "__init__.py"), encoding="utf-8") as file:
            found = re.search(r"__version__ *= *[\"'](\d+)\.(\d+)", file.read(1 << 16))
    except OSError:
        return None
    return (int(found[1]), int(found[2])) if found else None


def pip_folder():
    """Where a pip lies that can be used: this Python's, else the one that it brings for new environments."""
    spec = importlib.util.find_spec("pip")
    places = [os.path.dirname(place) for place in (spec.submodule_search_locations or [])] if spec else []
    for folder in places:
        if (pip_version(folder) or (0, 0)) >= OLDEST_PIP:
            return folder
    if importlib.util.find_spec("ensurepip") is None or not run(sys.executable, "-I", "-m", "venv", "/tmp/tool")[0]:
        return None
    folder = "/tmp/tool/lib/python{}.{}/site-packages".format(*sys.version_info[:2])
    return folder if (pip_version(folder) or (0, 0)) >= OLDEST_PIP else None


def pip(python, folder, *arguments):
    return run(python, "-I", "-B", "/work/pip_only.py", folder, *arguments)


def survey(task):
    """How pip is set up, by its own reading of variables and files, and what uv takes for its index where nothing is set up."""
    answer = {"pip": None, "uv_default": None, "uv": False, "venv": importlib.util.find_spec("venv") is not None}
    if task["uv"]:
        answer["uv"], told = run(task["uv"], "pip", "install", "--help")
        found = re.search(r"--default-index\b.*?<(https://[^\s<>]+)>", told, re.DOTALL)
        answer["uv_default"] = found[1] if found else None
    folder = pip_folder()
    if folder:
        sys.path.insert(0, folder)
        try:
            from pip._internal.commands import create_command

            options = create_command("install").parser.parse_args([])[0]
        except (Exception, SystemExit) as error:
            # Its text may quote a file with logins.
            return dict(answer, pip_trouble=type(error).__name__)
        answer["pip"] = {
            "index": options.index_url,
            "extra": list(options.extra_index_urls),
            "links": list(options.find_links),
            "no_index": bool(options.no_index),
            "cert": options.cert,
            "client_cert": options.client_cert,
            "trusted": list(options.trusted_hosts),
            "timeout": options.timeout,
            "retries": options.retries,
        }
    return answer


class Stay(urllib.request.HTTPRedirectHandler):
    """Tells of a redirect instead of following it."""

    def redirect_request(self, *_):
        return None


class Links(html.parser.HTMLParser):
    def __init__(self, base):
        super().__init__()
        self.base, self.found = base, []

    def handle_starttag(self, tag, attributes):
        link = dict(attributes).get("href")
        if link and tag == "base":
            self.base = urllib.parse.urljoin(self.base, link)
        elif link and tag == "a":
            self.found.append(urllib.parse.urljoin(self.base, link))


def login(parts):
    if parts.username is not None:
        user, word = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
    else:
        try:
            found = netrc.netrc(os.environ["NETRC"]).authenticators(parts.hostname)
        except (KeyError, OSError, netrc.NetrcParseError):
            found = None
        if not found:
            return None
        user, word = found[0], found[2]
    return "Basic " + base64.b64encode((user + ":" + word).encode()).decode()


def fetch(url, page, task):
    parts = urllib.parse.urlsplit(url)
    context = ssl.create_default_context()
    for place in [task["cert"]] if task["cert"] else []:
        context.load_verify_locations(cafile=place if os.path.isfile(place) else None, capath=place if os.path.isdir(place) else None)
    if task["client_cert"]:
        context.load_cert_chain(task["client_cert"])
    if {parts.hostname, "{}:{}".format(parts.hostname, parts.port or 443)} & set(task["insecure"]):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(Stay, urllib.request.HTTPSHandler(context=context))
    host = "[{}]".format(parts.hostname) if ":" in parts.hostname else parts.hostname
    plain = parts._replace(netloc=host + (":{}".format(parts.port) if parts.port else ""), fragment="").geturl()
    request = urllib.request.Request(plain, method="GET" if page else "HEAD")
    request.add_header("Accept", PAGE_TYPES if page else "*/*")
    if login(parts):
        request.add_header("Authorization", login(parts))
    with opener.open(request, timeout=20) as reply:
        return plain, reply.headers.get_content_type(), reply.read(MAX_PAGE) if page else b""


def ask(task):
    """Which other hosts an index leads to: by the links of a page, or by a redirect. Also the files it has of the versions named."""
    answers = []
    for question in task["questions"]:
        url, page = question["url"], question["page"]
        answer = {"reached": True, "redirect": None, "links": [], "files": []}
        answers.append(answer)
        try:
            plain, kind, body = fetch(url, page, task)
        except urllib.error.HTTPError as error:
            target = error.headers.get("Location") if error.code in (301, 302, 303, 307, 308) else None
            answer["redirect"] = urllib.parse.urljoin(url, target) if target else None
            # What stands between us and the index refuses hosts that are not named; the index was not asked then.
            answer["reached"] = error.code < 500
            continue
        except (OSError, ValueError, urllib.error.URLError) as error:
            answer["reached"] = not isinstance(error, OSError)
            continue
        if not page:
            continue
        try:
            if kind.endswith("json"):
                found = [urllib.parse.urljoin(plain, file["url"]) for file in json.loads(body)["files"]]
            else:
                reader = Links(plain)
                reader.feed(body.decode("utf-8", "replace"))
                found = reader.found
        except (ValueError, KeyError, TypeError):
            found = []
        samples = {}
        for link in found:
            try:
                parts = urllib.parse.urlsplit(link)
                samples.setdefault((parts.scheme, parts.netloc), link.split("#")[0])
            except ValueError:
                continue
        answer["links"] = list(samples.values())[:16]
        names = [urllib.parse.unquote(link.split("#")[0].split("?")[0].rsplit("/", 1)[-1]) for link in found]
        answer["files"] = [name for name in names if question["version"] and "-" + question["version"] in name][:20]
    return {"answers": answers}


def resolve(task):
    if task["uv"]:
        command = [task["uv"], "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--format", "pylock.toml"]
        command += ["--output-file", "/tmp/pylock.toml", "--only-binary", ":all:", "--python", sys.executable]
        ok, words = run(*command, *task["arguments"], "/work/roots.txt")
        if not ok:
            return {"ok": False, "words": words}
        with open("/tmp/pylock.toml", encoding="utf-8") as file:
            return {"ok": True, "lock": file.read(8 << 20)}
    folder = pip_folder()
    if folder is None:
        return {"ok": False, "missing": True, "words": ""}
    how = ["download", "--only-binary=:all:", "--no-input", "--quiet", "--dest", "/wheels"]
    ok, words = pip(sys.executable, folder, *how, *task["arguments"], "--requirement", "/work/roots.txt")
    return {"ok": ok, "words": words}


def make(task):
    os.umask(0o022)
    ok, words = run(sys.executable, "-I", "-m", "venv", "--without-pip", "--symlinks", "/env")
    if not ok and task["uv"]:
        ok, words = run(task["uv"], "venv", "--no-project", "--allow-existing", "--python", sys.executable, "/env")
    if not ok:
        return {"ok": False, "missing": True, "words": words}
    if task["some"]:
        how = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--requirement", "/work/lock.txt"]
        if task["uv"]:
            how += ["--quiet", "--link-mode", "copy", "--no-compile-bytecode", "--python", "/env/bin/python"]
            ok, words = run(task["uv"], "pip", "install", *how, *task["arguments"])
        else:
            folder = pip_folder()
            if folder is None:
                return {"ok": False, "missing": True, "words": ""}
            how += ["--quiet", "--no-input", "--ignore-installed", "--no-compile", "--no-warn-script-location"]
            ok, words = pip("/env/bin/python", folder, "install", *how, *task["arguments"])
        if not ok:
            return {"ok": False, "words": words}
        # By the machine's Python: the environment's own would run what packages hang into its start. Bytecode that holds its source's hash
        # does not depend on times, which a copy or a mount may change. A file that does not compile has no bytecode, as with pip.
        run(sys.executable, "-I", "-B", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/env/lib")
    for place, folders, files in os.walk("/env"):
        os.chmod(place, 0o755)
        for path in (os.path.join(place, name) for name in files):
            if not os.path.islink(path):
                os.chmod(path, 0o755 if os.stat(path).st_mode & 0o111 else 0o644)
    return {"ok": True, "words": ""}


def main():
    with open("/work/task.json", encoding="utf-8") as file:
        task = json.load(file)
    answer = {"survey": survey, "ask": ask, "resolve": resolve, "make": make}[task["do"]](task)
    sys.stdout.write(json.dumps(answer) + "\n")


main()
