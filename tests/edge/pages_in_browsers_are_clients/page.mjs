// The page that runs in the browser: of an origin that may call, and then of one that may not. Each says what
// came of its steps; a step that the browser does not allow is an error.
const plan = await (await fetch('/plan')).json();
const said = {};
const step = async (name, work) => {
  try {
    said[name] = await work();
  } catch (error) {
    said[name] = `${error?.name ?? 'Error'}: ${error?.message ?? error}`;
  }
};
const { base, token } = plan;
const endpoint = `${base}/mcp/docs`;
const authorization = `Bearer ${token}`;

const metadataOf = async (url) => {
  // As the SDK does it: the header alone makes the browser ask first.
  const found = await fetch(url, { headers: { 'mcp-protocol-version': '2025-11-25' } });
  return { status: found.status, resource: (await found.json()).resource };
};

// An own path of the metadata, so that the page of nobody finds it without having read a challenge.
const metadata = `${base}/.well-known/oauth-protected-resource/mcp/docs`;

async function asStranger() {
  await step('challenge', async () => {
    const refused = await fetch(endpoint, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
      body: '{}',
    });
    const challenge = refused.headers.get('www-authenticate') ?? '';
    const url = /resource_metadata="([^"]+)"/.exec(challenge)?.[1];
    return { status: refused.status, url, correlation: (refused.headers.get('x-correlation-id') ?? '').length };
  });
  await step('metadata', () => metadataOf(metadata));
  await step('mistyped', async () => {
    const headers = { authorization, 'content-type': 'application/json', 'mcp-param-region': 'x' };
    const refused = await fetch(`${base}/mcp/dcos`, { method: 'POST', headers, body: '{}' });
    return { status: refused.status, message: (await refused.json()).error.message };
  });
}

async function asClient(mode) {
  const { Client, StreamableHTTPClientTransport } = await import('@modelcontextprotocol/client');
  const options = mode === 'auto' ? { versionNegotiation: { mode: 'auto' } } : {};
  const client = new Client({ name: 'a page', version: '1' }, options);
  const transport = new StreamableHTTPClientTransport(new URL(endpoint), { requestInit: { headers: { authorization } } });
  await client.connect(transport);
  const revision = client.getNegotiatedProtocolVersion();
  const { tools } = await client.listTools();
  const called = await client.callTool({ name: 'search_docs', arguments: { query: 'roll back' } });
  const session = typeof transport.sessionId === 'string';
  if (session) await transport.terminateSession();
  await client.close();
  return { revision, tools: tools.map(({ name }) => name), text: JSON.stringify(called.content), session };
}

const isAllowed = location.origin === plan.allowed;
await asStranger();
if (isAllowed) {
  await step('legacy', () => asClient('default'));
  await step('modern', () => asClient('auto'));
}
await fetch('/said', { method: 'POST', body: JSON.stringify(said) });
if (isAllowed) location.href = `${plan.foreign}/`;
