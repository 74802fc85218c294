// A client that proves the possession of its key (RFC 9449) with a library of others: dpop.mjs MODULES ISSUER RESOURCE.
// Gets a token from the provider and calls the resource with it, in ways that must do and in ways that must not; tells in one
// line of JSON what came of each.
import { createHash, randomUUID } from 'node:crypto';
import { pathToFileURL } from 'node:url';

const [modules, issuer, resource] = process.argv.slice(2);
const jose = await import(pathToFileURL(`${modules}/jose/dist/webapi/index.js`));
const pair = async () => {
  const { publicKey, privateKey } = await jose.generateKeyPair('ES256', { extractable: true });
  return { privateKey, jwk: await jose.exportJWK(publicKey) };
};

async function proof(key, method, url, more) {
  const claims = { jti: randomUUID(), htm: method, htu: url, iat: Math.floor(Date.now() / 1000), ...more };
  const header = { alg: 'ES256', typ: 'dpop+jwt', jwk: key.jwk };
  return new jose.SignJWT(claims).setProtectedHeader(header).sign(key.privateKey);
}

const key = await pair();
const form = new URLSearchParams({
  grant_type: 'client_credentials', client_id: 'robot', client_secret: 'a secret of the tests', resource, scope: 'mcp:use',
});
const granted = await (await fetch(`${issuer}/token`, {
  method: 'POST', body: form, headers: { dpop: await proof(key, 'POST', `${issuer}/token`) },
})).json();
const token = granted.access_token;
const bound = jose.decodeJwt(token).cnf.jkt === await jose.calculateJwkThumbprint(key.jwk);
const ath = createHash('sha256').update(token).digest('base64url');

const call = async (authorization, dpop) => {
  const meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {},
    'io.modelcontextprotocol/clientInfo': { name: 'dpop', version: '1' },
  };
  const answer = await fetch(resource, {
    method: 'POST',
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list', params: { _meta: meta } }),
    headers: {
      authorization, ...(dpop && { dpop }), 'content-type': 'application/json', accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/list',
    },
  });
  await answer.text();
  const challenge = answer.headers.get('www-authenticate') ?? '';
  const error = /error="([^"]*)"/.exec(challenge)?.[1] ?? null;
  return { status: answer.status, scheme: challenge.split(' ')[0], error, nonce: answer.headers.get('dpop-nonce') };
};

const bearer = await call(`Bearer ${token}`);
const first = await call(`DPoP ${token}`, await proof(key, 'POST', resource, { ath }));
const { nonce } = first;
const mine = await proof(key, 'POST', resource, { ath, nonce });
const good = await call(`DPoP ${token}`, mine);
const replayed = await call(`DPoP ${token}`, mine);
const thief = await call(`DPoP ${token}`, await proof(await pair(), 'POST', resource, { ath, nonce }));
console.log(JSON.stringify({ type: granted.token_type, bound, bearer, first, good, replayed, thief }));
