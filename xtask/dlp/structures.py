"""Secrets that are known by the structure around them rather than by their own shape: signed tokens, headers,
cookies, URLs, passwords. Each function makes a text and the secret in it."""

import base64
import hashlib
import hmac

from alphabet import ALNUM, DIGITS, LOWER, alnum, blob, hexes, some, url, web

STRUCTURES = []


def kept_in(known):
    """A decorator that puts a function into the list, with the detector for its secrets."""

    def structure(detector):
        def keep(make):
            known.append((detector, make))
            return make

        return keep

    return structure


structure = kept_in(STRUCTURES)


def framed(rng, forms, *words):
    """One of the forms with these words in it, and the last of them, which is the secret."""
    return rng.choice(forms).format(*words), words[-1]


def password(rng):
    """As a manager of passwords makes one: letters, digits and some signs."""
    return (
        some(rng, ALNUM, rng.randrange(8, 15))
        + rng.choice("!#%*+-.")
        + some(rng, DIGITS, 2)
        + some(rng, LOWER, 1)
    )


@structure("jwt")
def signed(rng):
    header = (
        {"alg": "HS256", "typ": "JWT"}
        if rng.random() < 0.5
        else {"typ": "JWT", "alg": "HS256", "kid": hexes(rng, 8)}
    )
    body = (
        web(header)
        + "."
        + web(
            {
                "sub": str(rng.randrange(10**9)),
                "name": some(rng, LOWER, 6),
                "iat": 1760000000 + rng.randrange(10**7),
            }
        )
    )
    token = body + "." + web(hmac.new(rng.randbytes(32), body.encode(), hashlib.sha256).digest())
    forms = [
        "Authorization: Bearer {}",
        '{{"id_token": "{}"}}',
        "session={}; path=/",
        "{}",
        "The token is {} until noon.",
    ]
    return framed(rng, forms, token)


@structure("bearer-token")
def bearer(rng):
    token = rng.choice(
        [lambda: alnum(rng, 40), lambda: url(rng, 43), lambda: hexes(rng, 64), lambda: blob(rng, 48)]
    )()
    forms = [
        "Authorization: Bearer {}",
        "curl -H 'Authorization: Bearer {}' https://acme.io/v1",
        '{{"Authorization": "Bearer {}"}}',
        "authorization: bearer {}\r\naccept: */*",
    ]
    return framed(rng, forms, token)


@structure("basic-credentials")
def basic(rng):
    token = base64.b64encode(f"{some(rng, LOWER, 6)}:{password(rng)}".encode()).decode()
    forms = [
        "Authorization: Basic {}",
        '{{"headers": {{"Authorization": "Basic {}"}}}}',
        "proxy-authorization: Basic {}\r\n",
    ]
    return framed(rng, forms, token)


@structure("auth-header")
def header(rng):
    token = rng.choice([lambda: alnum(rng, 32), lambda: hexes(rng, 40), lambda: url(rng, 36)])()
    forms = [
        "X-Api-Key: {}",
        'curl -H "X-API-Key: {}" https://api.acme.io',
        '{{"x-api-key": "{}"}}',
        "api-key: {}\r\n",
        "PRIVATE-TOKEN: {}",
        "X-Auth-Token: {}",
        "Authorization: token {}",
        "'X-Access-Token': '{}'",
    ]
    return framed(rng, forms, token)


@structure("session-cookie")
def session(rng):
    name, value = rng.choice(
        [
            ("JSESSIONID", some(rng, "0123456789ABCDEF", 32)),
            ("PHPSESSID", some(rng, LOWER + DIGITS, 26)),
            (
                "connect.sid",
                "s%3A"
                + url(rng, 32)
                + "."
                + blob(rng, 32).rstrip("=").replace("+", "%2B").replace("/", "%2F"),
            ),
            ("sessionid", some(rng, LOWER + DIGITS, 32)),
            ("_acme_session", hexes(rng, 32)),
            ("laravel_session", web(rng.randbytes(180))),
            ("ASP.NET_SessionId", some(rng, LOWER + DIGITS[:6], 24)),
            ("session_token", url(rng, 64)),
        ]
    )
    forms = [
        "Cookie: theme=dark; {}={}",
        "Set-Cookie: {}={}; Path=/; HttpOnly",
        "curl -b '{}={}' https://acme.io/",
        '{{"cookie": "{}={}"}}',
    ]
    return framed(rng, forms, name, value)


@structure("cookie-header")
def cookie(rng):
    value = rng.choice([lambda: alnum(rng, 40), lambda: hexes(rng, 64), lambda: url(rng, 86)])()
    forms = ["Set-Cookie: auth={}; Secure; HttpOnly", "Cookie: sso={}", "cookie: acme_id={}; theme=dark"]
    return framed(rng, forms, value)


@structure("url-credentials")
def in_url(rng):
    secret = some(rng, ALNUM + "-._~!*", rng.randrange(8, 24)) + some(rng, DIGITS, 1)
    forms = [
        "postgres://ann:{}@db.acme.io:5432/orders",
        "postgresql+asyncpg://svc:{}@10.0.0.7/app?sslmode=require",
        "mysql://root:{}@db/shop",
        "redis://:{}@cache:6379/0",
        "mongodb+srv://app:{}@cluster0.acme.mongodb.net/prod",
        "amqp://worker:{}@mq:5672/vhost",
        "https://ci:{}@git.acme.io/team/app.git",
        "DATABASE_URL=postgres://u:{}@h/db",
        "git clone https://oauth2:{}@gitlab.acme.io/x.git",
    ]
    return framed(rng, forms, secret)


@structure("connection-string")
def connection(rng):
    secret = password(rng)
    forms = [
        "Server=tcp:acme.database.windows.net,1433;Initial Catalog=shop;User ID=app;Password={};Encrypt=True;",
        "Data Source=db;Database=x;Uid=ann;Pwd={};",
        "Host=db.acme.io;Port=5432;Database=app;Username=app;Password={}",
        "Driver={{SQL Server}};Server=h;Database=d;Uid=u;Pwd={}",
    ]
    return framed(rng, forms, secret)


@structure("netrc")
def netrc(rng):
    secret = password(rng)
    forms = [
        "machine api.acme.io login ann password {}\n",
        "machine git.acme.io\n  login ci\n  password {}\n",
        "default login anonymous password {}\n",
    ]
    return framed(rng, forms, secret)


@structure("kubernetes-secret")
def kubernetes(rng):
    names = rng.sample(["user", "password", "token", "tls.key", "DB_URL", "api-key"], rng.randrange(1, 4))
    data = "".join(f"  {name}: {blob(rng, rng.randrange(4, 40))}\n" for name in names)
    meta = "metadata:\n  name: app\n  namespace: prod\n"
    forms = [
        "apiVersion: v1\nkind: Secret\n{m}type: Opaque\ndata:\n{d}",
        "apiVersion: v1\ndata:\n{d}kind: Secret\n{m}type: Opaque\n",
        "---\nkind: Secret\n{m}stringData:\n{d}",
    ]
    return rng.choice(forms).format(m=meta, d=data), data


@structure("assigned-secret")
def assigned(rng):
    value = rng.choice(
        [
            lambda: alnum(rng, 32),
            lambda: hexes(rng, 40),
            lambda: url(rng, 43),
            lambda: blob(rng, 32),
            lambda: alnum(rng, 24),
        ]
    )()
    name = rng.choice(
        [
            "api_key",
            "apiKey",
            "API_KEY",
            "client_secret",
            "CLIENT_SECRET",
            "secret_key",
            "SECRET_KEY",
            "access_token",
            "accessToken",
            "ACME_API_TOKEN",
            "auth_token",
            "refresh_token",
            "webhook_secret",
            "signing_key",
            "encryption_key",
            "app_secret",
        ]
    )
    forms = [
        "{}={}\n",
        '{} = "{}"\n',
        '"{}": "{}"',
        "{}: {}\n",
        "const {} = '{}';",
        "{}: '{}'\n",
        "--set {}={} \n",
        '{} := "{}"',
    ]
    return framed(rng, forms, name, value)


@structure("assigned-password")
def quoted(rng):
    value = password(rng)
    forms = [
        'password = "{}"',
        '{{"user": "ann", "password": "{}"}}',
        'DB_PASSWORD="{}"\n',
        'passphrase: "{}"',
        'conn = connect(user="u", passwd="{}")',
    ]
    return framed(rng, forms, value)


@structure("assigned-password-single")
def single(rng):
    value = password(rng)
    forms = [
        "password = '{}'",
        "'password' => '{}',",
        "connect(user='u', password='{}')",
        "pwd: '{}'",
        "ALTER USER ann SET password='{}';",
    ]
    return framed(rng, forms, value)


@structure("assigned-password-bare")
def bare(rng):
    value = password(rng)
    forms = [
        "DB_PASSWORD={}\n",
        "password: {}\n",
        "spring.datasource.password={}\n",
        "export PGPASSWORD={}\n",
        "user=ann password={} host=db",
    ]
    return framed(rng, forms, value)


def make(rng, function):
    text, secret = function(rng)
    start = text.index(secret)
    return text, [(start, start + len(secret))]
