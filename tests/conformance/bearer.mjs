// The conformance suite has no option for a token. This is loaded before it and puts `Authorization` on everything it
// sends, by whichever of its two ways: the dispatcher below `fetch`, and `node:http`.
import http from 'node:http';
import { createRequire } from 'node:module';

const token = process.env.AIRLOCK_TEST_TOKEN;
if (token) {
  const value = `Bearer ${token}`;
  // The suite's own copy, so that both mean the same dispatcher.
  const { Agent, setGlobalDispatcher } = createRequire(process.argv[1])('undici');

  const pairs = (headers) => {
    if (!headers) return [];
    if (Array.isArray(headers)) {
      // Flat: name, value, name, value.
      return headers.flatMap((name, at) => (at % 2 ? [] : [[String(name), headers[at + 1]]]));
    }
    return headers[Symbol.iterator] ? [...headers] : Object.entries(headers);
  };
  const withToken = (dispatch) => (options, handler) => {
    const headers = pairs(options.headers);
    const own = headers.some(([name]) => String(name).toLowerCase() === 'authorization');
    if (!own) headers.push(['authorization', value]);
    return dispatch({ ...options, headers: headers.flat() }, handler);
  };
  setGlobalDispatcher(new Agent().compose(withToken));

  const plain = http.request;
  http.request = function request(...args) {
    const sent = plain.apply(this, args);
    if (!sent.headersSent && !sent.hasHeader('authorization')) sent.setHeader('authorization', value);
    return sent;
  };
}
