"""Texts without a secret, which nobody made for this: prose of Debian, sources of the crates that this
workspace is built from, lists of tools of real servers, and Faker's numbers that only look like something."""

import gzip
import hashlib
import json
import os
import pathlib
import re
import select
import subprocess
import time

CHUNK = 32 << 10
SOURCES = {
    ".rs",
    ".toml",
    ".md",
    ".c",
    ".h",
    ".json",
    ".S",
    ".asm",
    ".py",
    ".sh",
    ".yml",
    ".yaml",
    ".txt",
    ".html",
    ".js",
}


def by_digest(paths):
    """In an order that nobody chose and that is the same everywhere."""
    return sorted(paths, key=lambda path: hashlib.sha256("/".join(path.parts[-4:]).encode()).digest())


def chunks(name, text):
    """A text in pieces that end at ends of lines."""
    at = 0
    while at < len(text):
        end = len(text) if len(text) - at <= CHUNK else (text.rfind("\n", at, at + CHUNK) + 1 or at + CHUNK)
        yield name, text[at:end]
        at = end


def manual(raw):
    """A page of a manual as it is read, roughly: no requests of the typesetter, no escapes."""
    lines = []
    for line in raw.split("\n"):
        if line.startswith(('.\\"', "'\\\"", '\\"')):
            continue
        line = re.sub(r"^[.'][A-Za-z]{1,3}\b ?", "", line)
        line = re.sub(r"\\f(\[[^\]]*\]|\(..|.)|\\s[-+]?\d|\\[&|^/,%]|\\\((co|bu)", "", line)
        lines.append(
            re.sub(r"\\\((lq|rq|dq)", '"', re.sub(r"\\\((aq|cq|oq)", "'", line))
            .replace("\\-", "-")
            .replace("\\e", "\\")
        )
    return "\n".join(lines)


def prose(limit):
    """Licences and pages of the manual, of the installed packages, in all their languages."""
    size = 0
    for path in sorted(pathlib.Path("/usr/share/common-licenses").iterdir()):
        if path.is_symlink():
            continue
        for name, text in chunks(path.name, path.read_text(errors="replace")):
            size += len(text.encode())
            yield name, text
    for path in by_digest(path for path in pathlib.Path("/usr/share/man").rglob("*.gz") if path.is_file()):
        if size > limit:
            return
        try:
            raw = gzip.decompress(path.read_bytes()).decode()
        except (UnicodeDecodeError, OSError):
            continue
        if len(raw) < 1000:
            continue
        for name, text in chunks(f"{path.parent.name}/{path.name}", manual(raw)):
            size += len(text.encode())
            yield name, text


def source(limit, lock):
    """Files of the crates that the lock names, where cargo has unpacked them."""
    named = set(re.findall(r'name = "([^"]+)"\nversion = "([^"]+)"', lock.read_text()))
    home = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
    crates = {f"{name}-{version}" for name, version in named}
    files = (
        path for crate in home.glob("registry/src/*/*") if crate.name in crates for path in crate.rglob("*")
    )
    size = 0
    for path in by_digest(
        path
        for path in files
        if path.suffix in SOURCES and path.is_file() and path.stat().st_size < 256 << 10
    ):
        if size > limit:
            return
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        name = "/".join(path.parts[path.parts.index("src") + 2 :])
        for part in chunks(name, text):
            size += len(part[1].encode())
            yield part


def tools(directory):
    """The lists of the servers that the tests install, each asked as a client asks it."""
    node, modules = directory / "node_modules/node/bin/node", directory / "node_modules"
    script = lambda package: [node, modules / "@modelcontextprotocol" / package / "dist/index.js"]
    servers = {
        "everything": script("server-everything"),
        "filesystem": [*script("server-filesystem"), "/tmp"],
        "memory": script("server-memory"),
        "sequential-thinking": script("server-sequential-thinking"),
        "time": [directory / "python/bin/python", "-m", "mcp_server_time"],
        "git": [directory / "python/bin/python", "-m", "mcp_server_git"],
        "fetch": [directory / "python/bin/python", "-m", "mcp_server_fetch"],
        "sqlite": [
            directory / "python-legacy/bin/python",
            "-m",
            "mcp_server_sqlite",
            "--db-path",
            ":memory:",
        ],
    }
    for name, command in servers.items():
        if not pathlib.Path(command[0]).exists():
            continue
        for method, answer in asked([str(word) for word in command]):
            yield f"{name} {method}", json.dumps(answer, ensure_ascii=False)


def asked(command):
    """What a server answers to `initialize` and to each list."""
    first = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "quality", "version": "1"},
    }
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as server:
        try:
            for number, (method, params) in enumerate(
                [("initialize", first), ("tools/list", {}), ("prompts/list", {}), ("resources/list", {})]
            ):
                send(server, {"jsonrpc": "2.0", "id": number, "method": method, "params": params})
                answer = received(server, number)
                if method == "initialize":
                    send(server, {"jsonrpc": "2.0", "method": "notifications/initialized"})
                if answer and "result" in answer:
                    yield method, answer["result"]
        except OSError:
            print(f"{command[-1]} does not answer")
        finally:
            server.kill()
            server.stdin = None


def send(server, message):
    server.stdin.write(json.dumps(message).encode() + b"\n")
    server.stdin.flush()


def received(server, number):
    """The answer of that number, or nothing where the server does not give one within twenty seconds."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if not select.select([server.stdout], [], [], 1)[0]:
            continue
        line = server.stdout.readline()
        if not line:
            return None
        message = json.loads(line)
        if message.get("id") == number:
            return message
    return None


def lookalikes(rng, faker):
    """What records of shops and logs are full of, and what no detector is to take for something else."""
    luhnless = f"4{rng.randrange(10**14, 10**15)}"
    wrong = str(
        (
            10
            - sum(
                int(digit) * (1 if at % 2 else 2) - (9 if not at % 2 and int(digit) > 4 else 0)
                for at, digit in enumerate(luhnless)
            )
            + 1
        )
        % 10
    )
    lines = [
        f"order {faker.uuid4()} of {faker.date()} at {faker.time()}: {rng.randrange(1, 9)} x EAN {faker.ean13()}, ISBN {faker.isbn13()}",
        f"commit {faker.sha1()}\nAuthor: {faker.name()}\nDate: {faker.date_time().isoformat()}\n\n    {faker.sentence()}",
        f"\"integrity\": \"sha512-{'' .join(rng.choice('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/') for _ in range(86))}==\"",
        f"card {luhnless}{wrong} was mistyped; invoice no. {rng.randrange(10**9, 10**10)}, total {faker.pricetag()}",
        f"{faker.company()}, {faker.address()}, plate {faker.license_plate()}",
        f'{{"id": {rng.randrange(10**12)}, "created": {rng.randrange(10**9, 2 * 10**9)}, "etag": "{faker.md5()}", "version": "{rng.randrange(20)}.{rng.randrange(20)}.{rng.randrange(200)}"}}',
        f"{faker.text(300)}",
        f"key={faker.word()} token={faker.word()} password={faker.word()}",
        f"tracking number {rng.randrange(10**17, 10**18)} ({faker.bothify('??########??').upper()})",
        f"{faker.user_agent() if hasattr(faker, 'user_agent') else ''} {faker.uri_path()} {rng.randrange(100, 600)} {rng.randrange(10**6)}",
        f"lat {faker.latitude()} lon {faker.longitude()} alt {rng.randrange(4000)}",
        f"sha256:{faker.sha256()}",
        f"password: <your {faker.word()}>, token: ${{{faker.word().upper()}_TOKEN}}, api_key: YOUR_API_KEY",
    ]
    return rng.choice(lines)
