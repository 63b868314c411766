"""
A Hub on the loopback: what huggingface_hub and transformers ask of huggingface.co, kept in memory, with faults on demand.

Repositories have commits, branches and large files as the real ones; every commit keeps all of its files. `hf-local-hub` of the
package index would need a server written in Go that its wheel does not hold.
"""

import base64
import hashlib
import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import huggingface_hub
import transformers
import yaml

TOKEN = "hf_" + "LoopbackOnly" * 3
LARGE = (".safetensors", ".bin", ".onnx", ".pt")  # files that go to large file storage
REPO = r"(?P<repo>[^/]+/[^/]+)"


@dataclass
class Fault:
    """
    What goes wrong with requests whose line (`"GET /me/it/resolve/main/config.json"`) matches a pattern.

    Args:
        pattern (`str`): Regular expression, searched.
        status (`int`, *optional*): Answer with this status.
        cut (`int`, *optional*): Announce the whole file, send this many bytes and hang up.
        change (`bytes`, *optional*): Send this instead of the file, as if it were it.
        times (`int`, *optional*): How often, `None` for always.
        after (`int`, *optional*, defaults to 0): Matching requests to let pass before.
    """

    pattern: str
    status: int | None = None
    cut: int | None = None
    change: bytes | None = None
    times: int | None = None
    after: int = 0


@dataclass
class Repository:
    """Commits by name, each with all its files; branches."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, changes: dict[str, bytes | None]) -> str:
        """Write files (`None` deletes) on top of a branch; return the commit's name."""
        files = dict(self.commits.get(self.branches.get(branch, ""), {}))
        for name, content in changes.items():
            files.pop(name, None) if content is None else files.update({name: content})
        digest = hashlib.sha1(repr(len(self.commits)).encode())
        for name in sorted(files):
            digest.update(name.encode() + files[name])
        sha = digest.hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        return sha

    def files(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Return a revision's commit and files, `None` if there is no such revision."""
        sha = self.branches.get(revision, revision)
        return (sha, self.commits[sha]) if sha in self.commits else None


class LocalHub:
    """The server, its repositories, what it was asked, and what shall go wrong."""

    def __init__(self):
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}  # by sha256
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.faults: list[Fault] = []
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def environment(self, folder: Path) -> dict[str, str]:
        """Return variables with which a process takes this Hub for the real one, with caches in a folder."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(folder / "home"),
            "HF_HUB_CACHE": str(folder / "cache"),
            "HF_MODULES_CACHE": str(folder / "modules"),
            "NO_PROXY": "127.0.0.1",
        }

    def use(self, monkeypatch, folder: Path) -> None:
        """Let this process, too, take it for the real one: what huggingface_hub reads from the environment when it is imported."""
        for name, value in {
            "ENDPOINT": self.endpoint,
            "HUGGINGFACE_CO_URL_TEMPLATE": self.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_CACHE": str(folder / "cache"),
        }.items():
            monkeypatch.setattr(huggingface_hub.constants, name, value)
        monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", self.endpoint)
        if hasattr(transformers.utils.hub, "_hf_api"):
            monkeypatch.setattr(transformers.utils.hub, "_hf_api", None)
        for name, value in self.environment(folder).items():
            monkeypatch.setenv(name, value)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def files(self, repo: str, revision: str = "main") -> dict[str, bytes]:
        """Return the files of a revision."""
        return self.repositories[repo].files(revision)[1]

    @contextmanager
    def fault(self, pattern: str, **what: Any):
        """Let requests go wrong while the block runs, see [`Fault`]."""
        fault = Fault(pattern, **what)
        self.faults.append(fault)
        try:
            yield fault
        finally:
            self.faults.remove(fault)

    def fault_of(self, line: str) -> Fault | None:
        """Return what goes wrong with this request."""
        for fault in self.faults:
            if re.search(fault.pattern, line):
                if fault.after > 0:
                    fault.after -= 1
                    continue
                if fault.times is None:
                    return fault
                if fault.times > 0:
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    hub: LocalHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self._serve("GET")

    def do_GET(self):
        self._serve("GET")

    def do_POST(self):
        self._serve("POST")

    def do_PUT(self):
        self._serve("PUT")

    def do_DELETE(self):
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        url = urlsplit(self.path)
        self.path_only, self.query = unquote(url.path), parse_qs(url.query)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        line = f"{self.command} {self.path_only}"
        self.hub.requests.append(line)
        self.hub.headers.append(dict(self.headers))
        self.active_fault = self.hub.fault_of(line)
        if self.active_fault is not None and self.active_fault.status is not None:
            self._answer(self.active_fault.status, {"error": "asked for by the test"})
            return
        for routed, pattern, answer in ROUTES:
            if routed == method and (match := re.fullmatch(pattern, self.path_only)):
                answer(self, **match.groupdict())
                return
        self._answer(404, {"error": f"nothing at {line}"}, {"X-Error-Code": "EntryNotFound"})

    # ---- answers ----

    def _answer(self, status: int, content: Any = None, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps({} if content is None else content).encode()
        sent = body
        self.send_response(status)
        fault = self.active_fault
        if fault is not None and fault.change is not None:
            body = sent = fault.change
        self.send_header("Content-Length", str(len(body)))
        self.send_header(
            "Content-Type", "application/octet-stream" if isinstance(content, bytes) else "application/json"
        )
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if fault is not None and fault.cut is not None:
            sent = body[: fault.cut]
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(sent)

    def _knows_me(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _repository(self, repo: str, write: bool = False) -> Repository | None:
        found = self.hub.repositories.get(repo)
        if write and not self._knows_me():
            self._answer(401, {"error": "Invalid username or password."})
            return None
        if found is None or (found.private and not self._knows_me()):
            # the real Hub does not tell whether a private repository exists
            self._answer(
                401 if not self._knows_me() else 404,
                {"error": "Repository not found"},
                {"X-Error-Code": "RepoNotFound"},
            )
            return None
        return found

    def _revision(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        repository = self._repository(repo)
        if repository is None:
            return None
        found = repository.files(revision)
        if found is None:
            self._answer(404, {"error": f"Invalid rev id: {revision}"}, {"X-Error-Code": "RevisionNotFound"})
        return found

    # ---- reading ----

    def who_am_i(self):
        if self._knows_me():
            self._answer(200, {"name": "me", "type": "user", "orgs": [], "auth": {"accessToken": {"role": "write"}}})
        else:
            self._answer(401, {"error": "Invalid credentials in Authorization header"})

    def model_info(self, repo: str, revision: str = "main"):
        found = self._revision(repo, revision)
        if found is None:
            return
        sha, files = found
        data = _card_data(files.get("README.md", b"").decode())
        self._answer(
            200,
            {
                "id": repo, "modelId": repo, "sha": sha, "private": self.hub.repositories[repo].private, "tags": data.get("tags", []),
                "pipeline_tag": data.get("pipeline_tag"), "library_name": data.get("library_name"), "cardData": data,
                "siblings": [{"rfilename": name} for name in files], "downloads": 0, "likes": 0,
            },
        )  # fmt: skip

    def tree(self, repo: str, revision: str, folder: str = ""):
        found = self._revision(repo, revision)
        if found is not None:
            below = {name: content for name, content in found[1].items() if name.startswith(folder)}
            self._answer(200, [_entry(name, content) for name, content in below.items()])

    def paths_info(self, repo: str, revision: str):
        found = self._revision(repo, revision)
        if found is not None:
            asked = parse_qs(self.body.decode()).get("paths") or json.loads(self.body or b"{}").get("paths", [])
            self._answer(200, [_entry(name, found[1][name]) for name in asked if name in found[1]])

    def resolve(self, repo: str, revision: str, file: str):
        found = self._revision(repo, revision)
        if found is None:
            return
        sha, files = found
        headers = {"X-Repo-Commit": sha}
        if self.hub.repositories[repo].gated and not self._knows_me():
            self._answer(401, {"error": "Access to model is restricted"}, {**headers, "X-Error-Code": "GatedRepo"})
        elif file not in files:
            self._answer(404, {"error": "Entry not found"}, {**headers, "X-Error-Code": "EntryNotFound"})
        else:
            entry = _entry(file, files[file])
            etag = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
            self._answer(200, files[file], {**headers, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"})

    # ---- writing ----

    def create(self):
        if not self._knows_me():
            self._answer(401, {"error": "Invalid username or password."})
            return
        asked = json.loads(self.body)
        repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
        existed = repo in self.hub.repositories
        if not existed:
            made = self.hub.repositories[repo] = Repository(private=bool(asked.get("private")))
            made.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"})
        self._answer(409 if existed else 200, {"url": f"{self.hub.endpoint}/{repo}", "name": repo})

    def create_branch(self, repo: str, branch: str):
        repository = self._repository(repo, write=True)
        if repository is not None:
            repository.branches.setdefault(branch, repository.branches["main"])
            self._answer(200)

    def validate_yaml(self):
        self._answer(200, {"errors": [], "warnings": []})

    def preupload(self, repo: str, revision: str):
        if self._repository(repo, write=True) is None:
            return
        modes = [
            {"path": file["path"], "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular", "shouldIgnore": False, "oid": None}
            for file in json.loads(self.body)["files"]
        ]  # fmt: skip
        self._answer(200, {"files": modes})

    def large_batch(self, repo: str):
        if self._repository(repo, write=True) is None:
            return
        answers = []
        for asked in json.loads(self.body)["objects"]:
            answer = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.hub.large:  # what is there need not be sent again
                answer["actions"] = {"upload": {"href": f"{self.hub.endpoint}/large/{asked['oid']}"}}
            answers.append(answer)
        self._answer(200, {"transfer": "basic", "objects": answers})

    def put_large(self, oid: str):
        if hashlib.sha256(self.body).hexdigest() != oid:
            self._answer(400, {"error": "the content is not what was announced"})
            return
        self.hub.large[oid] = self.body
        self._answer(200)

    def commit(self, repo: str, revision: str):
        repository = self._repository(repo, write=True)
        if repository is None:
            return
        changes: dict[str, bytes | None] = {}
        for line in self.body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                changes[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                changes[value["path"]] = self.hub.large[value["oid"]]
            elif entry["key"] == "deletedFile":
                changes[value["path"]] = None
        sha = repository.commit(revision, changes)
        url = f"{self.hub.endpoint}/{repo}/commit/{sha}"
        self._answer(200, {"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""})


ROUTES = (
    ("GET", r"/api/whoami-v2", _Handler.who_am_i),
    ("GET", rf"/api/models/{REPO}", _Handler.model_info),
    ("GET", rf"/api/models/{REPO}/revision/(?P<revision>.+)", _Handler.model_info),
    ("GET", rf"/api/models/{REPO}/tree/(?P<revision>[^/]+)/?(?P<folder>.*)", _Handler.tree),
    ("POST", rf"/api/models/{REPO}/paths-info/(?P<revision>.+)", _Handler.paths_info),
    ("GET", rf"/{REPO}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", _Handler.resolve),
    ("POST", r"/api/repos/create", _Handler.create),
    ("POST", rf"/api/models/{REPO}/branch/(?P<branch>.+)", _Handler.create_branch),
    ("POST", r"/api/validate-yaml", _Handler.validate_yaml),
    ("POST", rf"/api/models/{REPO}/preupload/(?P<revision>.+)", _Handler.preupload),
    ("POST", rf"/{REPO}\.git/info/lfs/objects/batch", _Handler.large_batch),
    ("PUT", r"/large/(?P<oid>\w+)", _Handler.put_large),
    ("POST", rf"/api/models/{REPO}/commit/(?P<revision>.+)", _Handler.commit),
)


def _entry(name: str, content: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    entry = {"type": "file", "path": name, "size": len(content), "oid": blob}
    if name.endswith(LARGE):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return entry


def _card_data(card: str) -> dict[str, Any]:
    parts = card.split("---\n")
    return yaml.safe_load(parts[1]) or {} if card.startswith("---\n") and len(parts) > 2 else {}
