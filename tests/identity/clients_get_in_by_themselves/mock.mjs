// A provider that signs whatever claims it is asked for: mock.mjs MODULES PORT ALGORITHM. The form of a request for a token
// holds them in `claims`. Says `ready` once it listens.
import { pathToFileURL } from 'node:url';

const [modules, port, algorithm] = process.argv.slice(2);
const { Events, OAuth2Server } = await import(pathToFileURL(`${modules}/oauth2-mock-server/dist/index.mjs`));

const server = new OAuth2Server();
await server.issuer.keys.generate(algorithm);
server.service.on(Events.BeforeTokenSigning, (token, request) => {
  Object.assign(token.payload, { sub: 'mallory' }, JSON.parse(request.body.claims));
});
await server.start(Number(port), '127.0.0.1');
server.issuer.url = `http://127.0.0.1:${port}`;
console.log('ready');
