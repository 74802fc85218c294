"""Texts around a secret: configuration, code, headers, logs, letters. A place for the secret is `{s}`, its name
as the environment has it `{N}`, in snake case `{n}`, in camel case `{c}`."""

import re

# The part of a link that everybody may see.
PUBLIC = re.compile(r"https://[^/]+/(services|webhookb2|api/webhooks/\d+)/")

# Names stand beside the value.
NAMED = [
    "{N}={s}\n",
    'export {N}="{s}"\n',
    "{N}: {s}\n",
    "  - name: {N}\n    value: {s}\n",
    '"{n}": "{s}",\n',
    '{"env": {"{N}": "{s}", "LOG_LEVEL": "debug"}}',
    "{n} = '{s}'\n",
    'const {c} = "{s}";\n',
    '{N} = "{s}"\n',
    "docker run --rm -e {N}={s} registry.acme.io/worker:latest\n",
    '  {n}: "{s}"\n',
    "| {N} | {s} | production |\n",
]

# The value alone must tell.
ALONE = [
    "Hi, the credential that you asked for is {s}. Please do not share it.",
    "{s}",
    'curl -s -H "X-Auth: {s}" https://api.acme.io/v1/items\n',
    "2026-03-04T12:11:09Z INFO worker[412]: login with {s} succeeded in 12 ms\n",
    "Run it with `{s}` and tell me what it says.",
    "id,value,active\n17,{s},true\n18,,false\n",
    '<td class="mono">{s}</td>',
    'client = Client("{s}")\n',
    'args: ["--key", "{s}", "--verbose"]\n',
    "({s})",
    "Was: {s}; now it is rotated.",
    '{"content": [{"type": "text", "text": "key {s}"}], "isError": false}',
]

# Detectors that claim a value within one structure only.
FIXED = {
    "azure-storage-key": [
        "DefaultEndpointsProtocol=https;AccountName=acmedata;AccountKey={s};EndpointSuffix=core.windows.net",
        '{"AzureWebJobsStorage": "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey={s}"}',
        "AccountEndpoint=https://acme.documents.azure.com:443/;AccountKey={s};",
    ],
    "azure-shared-key": [
        "Endpoint=sb://acme.servicebus.windows.net/;SharedAccessKeyName=RootManage;SharedAccessKey={s}",
        "HostName=acme.azure-devices.net;DeviceId=d1;SharedAccessKey={s}\n",
    ],
    "azure-sas": [
        "https://acme.blob.core.windows.net/data/a.csv?sp=r&st=2026-01-01T00:00:00Z&se=2026-02-01T00:00:00Z&sv=2024-11-04&sr=b&sig={s}",
        "SharedAccessSignature sr=acme.servicebus.windows.net&sig={s}&se=1767225600&skn=Root",
    ],
    "azure-storage-key-bare": [
        "AZURE_STORAGE_KEY={s}\n",
        "The storage account acmedata has the key {s} since today.",
        "az storage blob list --account-name acme --account-key {s}\n",
    ],
    "gcp-service-account": [
        '{"type": "service_account", "project_id": "acme", "private_key_id": "{s}", "client_id": "1"}',
        '{\n  "type": "service_account",\n  "private_key_id": "{s}",\n  "token_uri": "https://oauth2.googleapis.com/token"\n}',
    ],
    "docker-auth": [
        '{"auths": {"https://index.docker.io/v1/": {"auth": "{s}"}}}',
        '{\n\t"auths": {\n\t\t"registry.acme.io": {\n\t\t\t"auth": "{s}"\n\t\t}\n\t}\n}',
    ],
    "npm-auth": [
        "registry=https://registry.acme.io/\n//registry.acme.io/:_authToken={s}\n",
        '//npm.pkg.acme.io/:_authToken="{s}"\nalways-auth=true\n',
        "_auth={s}\nalways-auth=true\n",
    ],
    "asana-token": ["ASANA_ACCESS_TOKEN={s}\n", '"asana_token": "{s}"', "asana pat: {s}\n"],
}


def camel(name):
    first, *rest = name.lower().split("_")
    return first + "".join(part.capitalize() for part in rest)


def worded(rng, shape, secret):
    """A text with the secret in it, and where it stands, in characters."""
    if shape.detector in FIXED:
        form = rng.choice(FIXED[shape.detector])
    elif shape.needs_name:
        form = rng.choice(NAMED)
    else:
        form = rng.choice(NAMED + ALONE)
    for mark, value in (("{N}", shape.name), ("{n}", shape.name.lower()), ("{c}", camel(shape.name))):
        form = form.replace(mark, value)
    start = form.index("{s}")
    public = PUBLIC.match(secret)
    return form.replace("{s}", secret), [(start + (public.end() if public else 0), start + len(secret))]
