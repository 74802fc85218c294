"""Secrets in the shapes that their issuers publish: made from the issuers' descriptions, not from Airlock's
patterns. Each shape names the detector of Airlock that claims it, the name that the issuer's manual gives the
value in a configuration, and how the value is made."""

import base64
import zlib

from alphabet import BASE32, DIGITS, LOWER, UPPER, URL, alnum, blob, hexes, some, url, uuid, web, with_crc


class Shape:
    """One kind of secret."""

    def __init__(self, detector, name, make, needs_name=False):
        self.detector = detector
        # As the issuer's manual names it in the environment.
        self.name = name
        # A function of a source of random numbers.
        self.make = make
        # Nothing in the value tells what it is: it is claimed beside its name only.
        self.needs_name = needs_name


def shape(detector, name, make):
    return Shape(detector, name, make)


def named(detector, name, make):
    return Shape(detector, name, make, needs_name=True)


def atlassian(rng):
    body = "ATATT3xFfGF0" + url(rng, 171)
    return f"{body}={zlib.crc32(body.encode()):08X}"


def pypi(rng, site=b"pypi.org"):
    """A macaroon of the second version: location, identifier, one caveat, signature."""

    def packet(kind, data):
        return bytes([kind, len(data)]) + data

    caveat = (
        b'[0,{"permissions":"user","version":1}]'
        if rng.random() < 0.5
        else b'[3,"' + uuid(rng).encode() + b'"]'
    )
    data = b"\x02" + packet(1, site) + packet(2, uuid(rng).encode()) + b"\x00" + packet(2, caveat)
    return "pypi-" + web(data + b"\x00\x00" + packet(6, rng.randbytes(32)))


def discord(rng):
    """The number of an account in base64, a time, a digest."""
    account = str(rng.randrange(10**17, 14 * 10**17)).encode()
    return f"{web(account)}.{rng.choice('GHX')}{url(rng, 5)}.{url(rng, 38)}"


def grafana_cloud(rng):
    key = {
        "o": str(rng.randrange(10**5, 10**6)),
        "n": "ci-" + some(rng, LOWER, 6),
        "k": alnum(rng, 24),
        "m": {"r": "eu"},
    }
    return "glc_" + base64.b64encode(str(key).replace("'", '"').encode()).decode()


def grafana_account(rng):
    key = alnum(rng, 32)
    return f"glsa_{key}_{zlib.crc32(key.encode()):08x}"


def sentry(rng):
    about = {
        "iat": 1700000000 + rng.randrange(10**7),
        "url": "https://sentry.io",
        "region_url": "https://us.sentry.io",
        "org": some(rng, LOWER, 7),
    }
    return f"sntrys_{base64.b64encode(str(about).encode()).decode()}_{blob(rng, 32).rstrip('=')}"


def aws_key(rng, prefix):
    return prefix + some(rng, BASE32, 16)


def openai_project(rng):
    size = rng.choice([58, 74])
    return f"sk-proj-{url(rng, size)}T3BlbkFJ{url(rng, size)}"


def google_refresh(rng):
    return f"1//0{some(rng, DIGITS + LOWER, 1)}{url(rng, 97)}"


def slack_bot(rng):
    return f"xoxb-{rng.randrange(10**11, 10**12)}-{rng.randrange(10**12, 10**13)}-{alnum(rng, 24)}"


def slack_user(rng):
    numbers = "-".join(str(rng.randrange(10**11, 10**12)) for _ in range(3))
    return f"xoxp-{numbers}-{hexes(rng, 32)}"


def onepassword_account(rng):
    about = {
        "signInAddress": "my.1password.com",
        "userAuth": {
            "method": "SRPg-4096",
            "alg": "PBES2g-HS256",
            "iterations": 650000,
            "salt": web(rng.randbytes(16)),
        },
        "email": f"{alnum(rng, 13).lower()}@1passwordserviceaccounts.com",
        "srpX": hexes(rng, 64),
        "muk": {"alg": "A256GCM", "k": web(rng.randbytes(32))},
    }
    return "ops_" + web(about)


def onepassword_key(rng):
    letters = "23456789ABCDEFGHJKLMNPQRSTVWXYZ"
    return "A3-" + "-".join(some(rng, letters, size) for size in (6, 6, 5, 5, 5, 5))


def mapbox(rng):
    return f"sk.{web({'u': some(rng, LOWER, 8), 'a': 'cl' + some(rng, LOWER + DIGITS, 23)})}.{url(rng, 22)}"


def teams(rng):
    return (
        f"https://{some(rng, LOWER, 7)}.webhook.office.com/webhookb2/{uuid(rng)}@{uuid(rng)}/IncomingWebhook/"
        f"{hexes(rng, 32)}/{uuid(rng)}"
    )


def azure_ai(rng):
    return f"{alnum(rng, 52)}JQQJ99{some(rng, UPPER, 2)}AC{alnum(rng, 5)}{some(rng, UPPER, 3)}AAA{alnum(rng, 3)}{alnum(rng, 8)}"


def tailscale(rng):
    return f"tskey-{rng.choice(['auth', 'api', 'client'])}-k{alnum(rng, 11)}CNTRL-{alnum(rng, 33)}"


def braintree(rng):
    return f"access_token$production${some(rng, LOWER + DIGITS, 16)}${hexes(rng, 32)}"


def asana(rng):
    return f"2/{rng.randrange(10**15, 10**16)}/{rng.randrange(10**15, 10**16)}:{hexes(rng, 32)}"


SHAPES = [
    shape("aws-access-key", "AWS_ACCESS_KEY_ID", lambda r: aws_key(r, "AKIA")),
    shape("aws-access-key", "AWS_ACCESS_KEY_ID", lambda r: aws_key(r, "ASIA")),
    named("aws-secret-key", "AWS_SECRET_ACCESS_KEY", lambda r: blob(r, 30)),
    shape("aws-session-token", "AWS_SESSION_TOKEN", lambda r: "IQoJb3JpZ2luX2Vj" + blob(r, 480)),
    shape("aws-session-token", "AWS_SESSION_TOKEN", lambda r: "FwoGZXIvYXdzE" + blob(r, 240)),
    shape(
        "aws-bedrock-key",
        "AWS_BEARER_TOKEN_BEDROCK",
        lambda r: "ABSK"
        + base64.b64encode(
            f"BedrockAPIKey-{some(r, LOWER + DIGITS, 4)}-at-{r.randrange(10**11, 10**12)}:{blob(r, 45)}".encode()
        ).decode(),
    ),
    shape("gcp-api-key", "GOOGLE_API_KEY", lambda r: "AIzaSy" + url(r, 33)),
    named("gcp-service-account", "private_key_id", lambda r: hexes(r, 40)),
    shape("gcp-oauth-secret", "GOOGLE_CLIENT_SECRET", lambda r: "GOCSPX-" + url(r, 28)),
    shape("google-oauth-token", "GOOGLE_TOKEN", lambda r: "ya29.a0" + url(r, 180)),
    shape("google-oauth-token", "GOOGLE_REFRESH_TOKEN", google_refresh),
    named("azure-storage-key", "AZURE_STORAGE_CONNECTION_STRING", lambda r: blob(r, 64)),
    named("azure-storage-key-bare", "AZURE_STORAGE_KEY", lambda r: blob(r, 64)),
    named("azure-shared-key", "SERVICEBUS_CONNECTION_STRING", lambda r: blob(r, 32)),
    named(
        "azure-sas",
        "AZURE_SAS_URL",
        lambda r: blob(r, 32).replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
    ),
    shape(
        "azure-client-secret",
        "AZURE_CLIENT_SECRET",
        lambda r: f"{alnum(r, 3)}8Q~{some(r, URL + '.~', 33)}{alnum(r, 1)}",
    ),
    shape("azure-devops-token", "AZURE_DEVOPS_EXT_PAT", lambda r: f"{alnum(r, 76)}AZDO{alnum(r, 4)}"),
    shape("azure-ai-key", "AZURE_OPENAI_API_KEY", azure_ai),
    shape("alibaba-access-key", "ALIBABA_CLOUD_ACCESS_KEY_ID", lambda r: "LTAI5t" + alnum(r, 18)),
    shape(
        "digitalocean-token",
        "DIGITALOCEAN_TOKEN",
        lambda r: f"{r.choice(['dop', 'doo', 'dor'])}_v1_{hexes(r, 64)}",
    ),
    shape("heroku-key", "HEROKU_API_KEY", lambda r: "HRKU-AA" + url(r, 58)),
    shape(
        "cloudflare-origin-key",
        "CLOUDFLARE_API_USER_SERVICE_KEY",
        lambda r: f"v1.0-{hexes(r, 24)}-{hexes(r, 146)}",
    ),
    named("cloudflare-token", "CLOUDFLARE_API_TOKEN", lambda r: url(r, 40)),
    named("cloudflare-token", "CLOUDFLARE_API_KEY", lambda r: hexes(r, 37)),
    shape("fly-token", "FLY_API_TOKEN", lambda r: "fo1_" + url(r, 43)),
    shape("fly-token", "FLY_API_TOKEN", lambda r: "fm2_" + blob(r, 390)),
    shape("vercel-token", "VERCEL_TOKEN", lambda r: "vcp_" + alnum(r, 56)),
    shape("netlify-token", "NETLIFY_AUTH_TOKEN", lambda r: "nfp_" + alnum(r, 36)),
    shape("supabase-key", "SUPABASE_ACCESS_TOKEN", lambda r: "sbp_" + hexes(r, 40)),
    shape("supabase-key", "SUPABASE_SECRET_KEY", lambda r: f"sb_secret_{url(r, 22)}_{url(r, 8)}"),
    shape("planetscale-secret", "PLANETSCALE_SERVICE_TOKEN", lambda r: "pscale_tkn_" + url(r, 43)),
    shape("planetscale-secret", "DATABASE_SECRET", lambda r: "pscale_pw_" + url(r, 43)),
    *(shape("github-token", "GITHUB_TOKEN", lambda r, p=p: with_crc(r, f"gh{p}_")) for p in "pous"),
    shape("github-token", "GITHUB_REFRESH_TOKEN", lambda r: with_crc(r, "ghr_", 70)),
    shape(
        "github-fine-grained-token",
        "GITHUB_TOKEN",
        lambda r: f"github_pat_11{some(r, UPPER + DIGITS, 20)}_{alnum(r, 59)}",
    ),
    *(
        shape("gitlab-token", "GITLAB_TOKEN", lambda r, p=p: p + url(r, 20))
        for p in ("glpat-", "gldt-", "glrt-", "glft-", "GR1348941")
    ),
    shape("gitlab-token", "CI_JOB_TOKEN", lambda r: f"glcbt-{hexes(r, 2)}_{url(r, 20)}"),
    shape(
        "gitlab-token",
        "GITLAB_TOKEN",
        lambda r: f"glpat-{url(r, 27)}.{some(r, LOWER + DIGITS, 2)}.{some(r, LOWER + DIGITS, 9)}",
    ),
    shape("bitbucket-token", "BITBUCKET_APP_PASSWORD", lambda r: "ATBB" + alnum(r, 24) + hexes(r, 8).upper()),
    shape("npm-token", "NPM_TOKEN", lambda r: with_crc(r, "npm_")),
    named("npm-auth", "//registry.acme.io/:_authToken", lambda r: alnum(r, 40)),
    named("npm-auth", "//registry.acme.io/:_authToken", lambda r: uuid(r)),
    shape("pypi-token", "TWINE_PASSWORD", pypi),
    shape("pypi-token", "TWINE_PASSWORD", lambda r: pypi(r, b"test.pypi.org")),
    shape("crates-io-token", "CARGO_REGISTRY_TOKEN", lambda r: "cio" + alnum(r, 32)),
    shape("rubygems-key", "GEM_HOST_API_KEY", lambda r: "rubygems_" + hexes(r, 48)),
    shape("nuget-key", "NUGET_API_KEY", lambda r: "oy2" + some(r, LOWER + "234567", 43)),
    shape("clojars-token", "CLOJARS_PASSWORD", lambda r: "CLOJARS_" + hexes(r, 60)),
    shape("docker-hub-token", "DOCKER_PASSWORD", lambda r: "dckr_pat_" + url(r, 27)),
    shape("docker-hub-token", "DOCKER_PASSWORD", lambda r: "dckr_oat_" + url(r, 32)),
    named(
        "docker-auth",
        "auth",
        lambda r: base64.b64encode(f"{some(r, LOWER, 6)}:{alnum(r, 16)}".encode()).decode(),
    ),
    shape("artifactory-key", "ARTIFACTORY_API_KEY", lambda r: "AKCp" + alnum(r, 69)),
    shape(
        "artifactory-key",
        "ARTIFACTORY_TOKEN",
        lambda r: base64.b64encode(f"reftkn:01:{r.randrange(10**9, 10**10)}:{alnum(r, 28)}".encode())
        .decode()
        .rstrip("=")[:64],
    ),
    *(shape("sonar-token", "SONAR_TOKEN", lambda r, p=p: p + hexes(r, 40)) for p in ("squ_", "sqp_", "sqa_")),
    shape("postman-key", "POSTMAN_API_KEY", lambda r: f"PMAK-{hexes(r, 24)}-{hexes(r, 34)}"),
    shape("pulumi-token", "PULUMI_ACCESS_TOKEN", lambda r: "pul-" + hexes(r, 40)),
    shape("terraform-token", "TF_TOKEN_app_terraform_io", lambda r: f"{alnum(r, 14)}.atlasv1.{alnum(r, 67)}"),
    shape("vault-token", "VAULT_TOKEN", lambda r: "hvs." + alnum(r, 24)),
    shape("vault-token", "VAULT_TOKEN", lambda r: "hvs.CAES" + url(r, 90)),
    shape("vault-token", "VAULT_TOKEN", lambda r: "hvb.AAAAAQ" + url(r, 140)),
    named("vault-token-old", "VAULT_TOKEN", lambda r: "s." + alnum(r, 24)),
    shape("doppler-token", "DOPPLER_TOKEN", lambda r: "dp.pt." + alnum(r, 43)),
    shape("doppler-token", "DOPPLER_TOKEN", lambda r: "dp.st.prd." + alnum(r, 43)),
    shape("onepassword-secret", "OP_SERVICE_ACCOUNT_TOKEN", onepassword_account),
    shape("onepassword-secret", "OP_SECRET_KEY", onepassword_key),
    shape("tailscale-key", "TS_AUTHKEY", tailscale),
    shape("slack-token", "SLACK_BOT_TOKEN", slack_bot),
    shape("slack-token", "SLACK_USER_TOKEN", slack_user),
    shape("slack-token", "SLACK_REFRESH_TOKEN", lambda r: "xoxe-1-" + some(r, UPPER + DIGITS, 146)),
    shape(
        "slack-app-token",
        "SLACK_APP_TOKEN",
        lambda r: f"xapp-1-A{some(r, UPPER + DIGITS, 10)}-{r.randrange(10**12, 10**13)}-{hexes(r, 64)}",
    ),
    shape(
        "slack-webhook",
        "SLACK_WEBHOOK_URL",
        lambda r: f"https://hooks.slack.com/services/T{some(r, UPPER + DIGITS, 8)}/B{some(r, UPPER + DIGITS, 10)}/{alnum(r, 24)}",
    ),
    shape("teams-webhook", "TEAMS_WEBHOOK_URL", teams),
    shape("discord-bot-token", "DISCORD_TOKEN", discord),
    shape(
        "discord-webhook",
        "DISCORD_WEBHOOK_URL",
        lambda r: f"https://discord.com/api/webhooks/{r.randrange(10**18, 10**19)}/{url(r, 68)}",
    ),
    shape(
        "telegram-bot-token",
        "TELEGRAM_BOT_TOKEN",
        lambda r: f"{r.randrange(10**8, 8 * 10**9)}:AA{r.choice('EFGH')}{url(r, 32)}",
    ),
    shape("twilio-key", "TWILIO_API_KEY", lambda r: "SK" + hexes(r, 32)),
    named("twilio-auth-token", "TWILIO_AUTH_TOKEN", lambda r: hexes(r, 32)),
    shape("sendgrid-key", "SENDGRID_API_KEY", lambda r: f"SG.{url(r, 22)}.{url(r, 43)}"),
    shape("mailgun-key", "MAILGUN_API_KEY", lambda r: "key-" + hexes(r, 32)),
    named("mailgun-key-new", "MAILGUN_API_KEY", lambda r: f"{hexes(r, 32)}-{hexes(r, 8)}-{hexes(r, 8)}"),
    shape("mailchimp-key", "MAILCHIMP_API_KEY", lambda r: f"{hexes(r, 32)}-us{r.randrange(1, 22)}"),
    shape("brevo-key", "BREVO_API_KEY", lambda r: f"xkeysib-{hexes(r, 64)}-{alnum(r, 16)}"),
    shape("openai-key", "OPENAI_API_KEY", openai_project),
    shape("openai-key", "OPENAI_API_KEY", lambda r: f"sk-svcacct-{url(r, 58)}T3BlbkFJ{url(r, 58)}"),
    shape("openai-key", "OPENAI_ADMIN_KEY", lambda r: f"sk-admin-{url(r, 58)}T3BlbkFJ{url(r, 58)}"),
    shape("openai-key", "OPENAI_API_KEY", lambda r: f"sk-{alnum(r, 20)}T3BlbkFJ{alnum(r, 20)}"),
    shape("anthropic-key", "ANTHROPIC_API_KEY", lambda r: f"sk-ant-api03-{url(r, 93)}AA"),
    shape("anthropic-key", "ANTHROPIC_ADMIN_KEY", lambda r: f"sk-ant-admin01-{url(r, 93)}AA"),
    shape("openrouter-key", "OPENROUTER_API_KEY", lambda r: "sk-or-v1-" + hexes(r, 64)),
    shape("sk-key", "DEEPSEEK_API_KEY", lambda r: "sk-" + hexes(r, 32)),
    shape("sk-key", "MOONSHOT_API_KEY", lambda r: "sk-" + alnum(r, 48)),
    shape("huggingface-token", "HF_TOKEN", lambda r: "hf_" + some(r, UPPER + LOWER, 34)),
    shape("groq-key", "GROQ_API_KEY", lambda r: "gsk_" + alnum(r, 52)),
    shape("xai-key", "XAI_API_KEY", lambda r: "xai-" + alnum(r, 80)),
    shape("perplexity-key", "PERPLEXITY_API_KEY", lambda r: "pplx-" + alnum(r, 48)),
    shape("replicate-token", "REPLICATE_API_TOKEN", lambda r: "r8_" + alnum(r, 37)),
    shape(
        "langsmith-key",
        "LANGSMITH_API_KEY",
        lambda r: f"lsv2_{r.choice(['pt', 'sk'])}_{hexes(r, 32)}_{hexes(r, 10)}",
    ),
    shape("pinecone-key", "PINECONE_API_KEY", lambda r: f"pcsk_{alnum(r, 6)}_{alnum(r, 63)}"),
    shape("stripe-key", "STRIPE_SECRET_KEY", lambda r: f"sk_{r.choice(['live', 'test'])}_{alnum(r, 24)}"),
    shape("stripe-key", "STRIPE_SECRET_KEY", lambda r: f"sk_{r.choice(['live', 'test'])}_51{alnum(r, 97)}"),
    shape("stripe-key", "STRIPE_RESTRICTED_KEY", lambda r: f"rk_live_{alnum(r, 99)}"),
    shape("stripe-webhook-secret", "STRIPE_WEBHOOK_SECRET", lambda r: "whsec_" + alnum(r, 32)),
    shape("stripe-webhook-secret", "SVIX_SECRET", lambda r: "whsec_" + blob(r, 24)),
    shape("square-token", "SQUARE_ACCESS_TOKEN", lambda r: "EAAA" + url(r, 60)),
    shape("square-token", "SQUARE_APPLICATION_SECRET", lambda r: "sq0csp-" + url(r, 43)),
    shape("square-token", "SQUARE_ACCESS_TOKEN", lambda r: "sq0atp-" + url(r, 22)),
    *(
        shape("shopify-token", "SHOPIFY_ACCESS_TOKEN", lambda r, p=p: p + hexes(r, 32))
        for p in ("shpat_", "shpss_", "shpca_", "shppa_")
    ),
    shape("braintree-token", "BRAINTREE_ACCESS_TOKEN", braintree),
    shape("databricks-token", "DATABRICKS_TOKEN", lambda r: "dapi" + hexes(r, 32) + r.choice(["", "-2"])),
    shape("atlassian-token", "JIRA_API_TOKEN", atlassian),
    named("atlassian-token-old", "JIRA_API_TOKEN", lambda r: alnum(r, 20) + hexes(r, 4).upper()),
    shape("linear-key", "LINEAR_API_KEY", lambda r: "lin_api_" + alnum(r, 40)),
    shape("notion-token", "NOTION_TOKEN", lambda r: f"ntn_{some(r, DIGITS, 11)}{alnum(r, 35)}"),
    shape("notion-token", "NOTION_TOKEN", lambda r: "secret_" + alnum(r, 43)),
    shape("figma-token", "FIGMA_TOKEN", lambda r: "figd_" + url(r, 40)),
    shape("airtable-token", "AIRTABLE_API_KEY", lambda r: f"pat{alnum(r, 14)}.{hexes(r, 64)}"),
    named("asana-token", "ASANA_ACCESS_TOKEN", asana),
    shape("hubspot-token", "HUBSPOT_ACCESS_TOKEN", lambda r: f"pat-{r.choice(['na1', 'eu1'])}-{uuid(r)}"),
    shape("typeform-token", "TYPEFORM_TOKEN", lambda r: f"tfp_{alnum(r, 44)}_{alnum(r, 14)}"),
    shape("dropbox-token", "DROPBOX_TOKEN", lambda r: "sl." + r.choice(["", "u."]) + url(r, 138)),
    shape("facebook-token", "FB_PAGE_TOKEN", lambda r: "EAA" + alnum(r, 190)),
    shape("mapbox-token", "MAPBOX_SECRET_TOKEN", mapbox),
    shape("easypost-key", "EASYPOST_API_KEY", lambda r: f"EZ{r.choice('AT')}K{alnum(r, 54)}"),
    shape("grafana-token", "GRAFANA_TOKEN", grafana_account),
    shape("grafana-token", "GRAFANA_CLOUD_TOKEN", grafana_cloud),
    shape(
        "grafana-token",
        "GRAFANA_API_KEY",
        lambda r: base64.b64encode(
            f'{{"k":"{alnum(r, 32)}","n":"{some(r, LOWER, 8)}","id":1}}'.encode()
        ).decode(),
    ),
    shape("newrelic-key", "NEW_RELIC_API_KEY", lambda r: "NRAK-" + some(r, UPPER + DIGITS, 27)),
    shape("sentry-token", "SENTRY_AUTH_TOKEN", sentry),
    shape("sentry-token", "SENTRY_AUTH_TOKEN", lambda r: "sntryu_" + hexes(r, 64)),
    shape("dynatrace-token", "DT_API_TOKEN", lambda r: f"dt0c01.{some(r, BASE32, 24)}.{some(r, BASE32, 64)}"),
    named("datadog-key", "DD_API_KEY", lambda r: hexes(r, 32)),
    named("datadog-key", "DD_APP_KEY", lambda r: hexes(r, 40)),
]
