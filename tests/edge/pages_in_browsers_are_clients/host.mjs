// A browser, and the server of its pages: host.mjs PLAN. The same pages are served at two origins. Prints what each page said, a
// line of JSON each, and ends the browser.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const plan = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const here = dirname(fileURLToPath(import.meta.url));
const kinds = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript' };
let browser;
let left = 2;
const asked = [];

function end(code) {
  browser.removeAllListeners('exit');
  browser.once('exit', () => process.exit(code));
  // A browser is many processes, in a group of their own.
  process.kill(-browser.pid, 'SIGKILL');
}

function serve(request, response) {
  const path = normalize(new URL(request.url, plan.allowed).pathname);
  asked.push(path);
  if (path === '/said') {
    let text = '';
    request.on('data', (piece) => (text += piece));
    request.on('end', () => {
      console.log(text);
      response.end();
      left -= 1;
      if (left === 0) end(0);
    });
    return;
  }
  if (path === '/plan') {
    response.setHeader('content-type', 'application/json');
    return response.end(JSON.stringify(plan));
  }
  const file = path.startsWith('/modules/') ? join(plan.modules, path.slice(9)) : join(here, path === '/' ? 'page.html' : path);
  try {
    response.setHeader('content-type', kinds[extname(file)] ?? 'application/octet-stream');
    response.end(readFileSync(file));
  } catch {
    response.statusCode = 404;
    response.end();
  }
}

for (const origin of [plan.allowed, plan.foreign]) {
  const { hostname, port } = new URL(origin);
  await new Promise((ready) => createServer(serve).listen(Number(port), hostname, ready));
}
// The sandbox of a browser wants a user of its own, which a test that runs as root has not; these pages are ours.
const options = ['--no-sandbox', '--disable-gpu', '--no-first-run', `--user-data-dir=${plan.scratch}`];
// `--remote-debugging-port` keeps it open after the page has loaded.
browser = spawn(plan.browser, [...options, '--remote-debugging-port=0', `${plan.allowed}/`], { stdio: 'ignore', detached: true });
browser.once('error', (error) => {
  console.error(`${plan.browser}: ${error}`);
  process.exit(1);
});
browser.once('exit', (code, signal) => {
  console.error(`the browser has ended: ${code ?? signal}`);
  process.exit(1);
});
setTimeout(() => {
  console.error(`the browser says nothing; asked for: ${asked.join(' ')}`);
  end(2);
}, 60_000);
