// An OpenID-certified provider: provider.mjs MODULES PORT KEY…. Signs with the first key and publishes all; a key is a file
// that is made when it is not there. Says `ready` once it listens.
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, port, ...files] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(`${modules}/oidc-provider/lib/index.js`));

function key(file) {
  if (!existsSync(file)) {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  }
  const jwk = createPrivateKey(readFileSync(file)).export({ format: 'jwk' });
  return { ...jwk, kid: basename(file), use: 'sig', alg: 'RS256' };
}

const robot = { client_id: 'robot', client_secret: 'a secret of the tests', grant_types: ['client_credentials'] };
const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys: files.map(key) },
  clients: [{ ...robot, redirect_uris: [], response_types: [] }],
  cookies: { keys: ['of the tests'] },
  scopes: ['openid', 'offline_access', 'mcp:use', 'mcp:admin'],
  pkce: { required: () => true },
  features: {
    clientCredentials: { enabled: true },
    // Tokens are bound to a key where a client proves that it has one.
    dPoP: { enabled: true },
    // Its own pages for login and consent.
    devInteractions: { enabled: true },
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (context, resource) => ({
        audience: resource,
        scope: 'mcp:use mcp:admin',
        accessTokenFormat: 'jwt',
        accessTokenTTL: 600,
        jwt: { sign: { alg: 'RS256', kid: basename(files[0]) } },
      }),
    },
  },
  extraTokenClaims: () => ({ realm: { tenant: 'acme', groups: ['mcp.users'] } }),
  findAccount: (context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
});
// The scopes of a registration are no bound for later, as with most providers: what was not known then can be asked for.
provider.use(async (context, next) => {
  if (context.method === 'POST' && context.path === '/reg') {
    const chunks = [];
    for await (const chunk of context.req) chunks.push(chunk);
    const { scope, ...rest } = JSON.parse(Buffer.concat(chunks));
    context.req.body = rest;
  }
  await next();
});
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
