// The TypeScript client at every server of a plan: typescript.mjs PLAN MODE. A mode is `default` (what the client does
// when nothing is said), `auto`, or `remote`: over mcp-remote, for programs that speak to a pipe only.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const [planFile, mode] = process.argv.slice(2);
const plan = JSON.parse(readFileSync(planFile, 'utf8'));
const require = createRequire(`${plan.tools}/node_modules/`);
const { Client, StreamableHTTPClientTransport } = require('@modelcontextprotocol/client');

function transport(url) {
  const authorization = `Bearer ${plan.token}`;
  if (mode !== 'remote') {
    return new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { authorization } } });
  }
  const { StdioClientTransport } = require('@modelcontextprotocol/client/stdio');
  const script = `${plan.tools}/node_modules/mcp-remote/dist/proxy.js`;
  return new StdioClientTransport({
    command: process.execPath,
    args: [script, url, '--allow-http', '--transport', 'http-only', '--header', `Authorization:${authorization}`],
    // It keeps its files there.
    env: { ...process.env, MCP_REMOTE_CONFIG_DIR: plan.scratch },
    stderr: 'ignore',
  });
}

async function visit(server) {
  const told = { server: server.name };
  const options = mode === 'auto' ? { versionNegotiation: { mode: 'auto' } } : {};
  const client = new Client({ name: 'airlock-tests', version: '1' }, options);
  const step = async (name, work) => {
    try {
      const text = JSON.stringify(await work());
      const expected = name === 'list' ? `"${server.tool}"` : name === 'call' ? server.expected : '"contents"';
      told[name] = text.includes(expected) ? 'ok' : `unexpected: ${text.slice(0, 500)}`;
    } catch (error) {
      told[name] = String(error);
    }
  };
  try {
    await client.connect(transport(`${plan.base}/${server.name}`));
    told.revision = client.getNegotiatedProtocolVersion();
    await step('list', () => client.listTools());
    await step('call', () => client.callTool({ name: server.tool, arguments: server.arguments }));
    if (server.uri) await step('read', () => client.readResource({ uri: server.uri }));
    await client.close();
  } catch (error) {
    told.list ??= `no connection: ${error}`;
  }
  console.log(JSON.stringify(told));
}

for (const server of plan.servers) await visit(server);
process.exit(0);
