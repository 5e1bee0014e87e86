import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer, globalAgent } from 'node:https';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, onTestFinished, test } from 'vitest';
import { closeServer, listen } from '../../infra/local/ports.ts';
import { lightFetch } from '../../shared/google/light-fetch.ts';

async function serve(answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  const port = await listen(server, 0);
  onTestFinished(() => closeServer(server));
  return `http://127.0.0.1:${port}/path?query=1`;
}

const init = { method: 'GET', headers: {}, redirect: 'error' as const, signal: AbortSignal.timeout(10_000) };

test('sends method, path, headers and body, and returns status, headers and text', async () => {
  const url = await serve(async (request, response) => {
    const { method, url, headers } = request;
    response.writeHead(429, { 'Retry-After': '7' });
    const { authorization, 'content-length': length } = headers;
    response.end(JSON.stringify({ method, url, authorization, length, body: await text(request) }));
  });
  const sent = { ...init, method: 'PATCH', headers: { authorization: 'Bearer x' }, body: 'Grüße' };
  const { status, headers, text: read } = await lightFetch(url, sent);
  expect(status).toBe(429);
  expect(headers.get('retry-after')).toBe('7');
  expect(headers.get('etag')).toBeNull();
  expect(JSON.parse(await read())).toEqual({
    method: 'PATCH',
    url: '/path?query=1',
    authorization: 'Bearer x',
    length: '7',
    body: 'Grüße',
  });
});

test('returns a redirect instead of following it', async () => {
  let requests = 0;
  const url = await serve((_, response) => {
    requests++;
    response.writeHead(302, { location: '/elsewhere' }).end();
  });
  expect(await lightFetch(url, init)).toMatchObject({ status: 302 });
  expect(requests).toBe(1);
});

test('rejects with the reason of its abort signal', async () => {
  const url = await serve(() => {});
  const waiting = lightFetch(url, { ...init, signal: AbortSignal.timeout(50) });
  await expect(waiting).rejects.toMatchObject({ name: 'TimeoutError' });
});

test('stops reading a response body when the signal aborts', async () => {
  const url = await serve((_, response) => void response.writeHead(200).write('so far'));
  const waiting = lightFetch(url, { ...init, signal: AbortSignal.timeout(200) });
  await expect(waiting).rejects.toMatchObject({ name: 'TimeoutError' });
});

test.each<[string, RequestListener]>([
  ['without an answer', (request) => void request.socket.destroy()],
  [
    'in the middle of one',
    (_, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('so far', () => response.destroy());
    },
  ],
])('rejects when the connection ends %s', async (_, answer) => {
  await expect(lightFetch(await serve(answer), init)).rejects.toMatchObject({ code: 'ECONNRESET' });
});

test('returns no text for a response without a body', async () => {
  const { status, text: read } = await lightFetch(
    await serve((_, response) => void response.writeHead(204).end()),
    { ...init, method: 'DELETE' },
  );
  expect([status, await read()]).toEqual([204, '']);
});

test('requests no content encoding', async () => {
  const url = await serve(({ headers }, response) => void response.end(String(headers['accept-encoding'])));
  expect(await (await lightFetch(url, init)).text()).toBe('undefined');
});

test.each(['x\r\nx-injected: yes', 'x\ninjected', 'x\0'])(
  'refuses to send a header such as %j',
  async (value) => {
    let requests = 0;
    const url = await serve((_, response) => {
      requests++;
      response.end();
    });
    const sent = { ...init, headers: { authorization: value } };
    await expect(lightFetch(url, sent)).rejects.toMatchObject({ code: 'ERR_INVALID_CHAR' });
    expect(requests).toBe(0);
  },
);

test('rejects at once when its signal was aborted before', async () => {
  const signal = AbortSignal.abort(new Error('too late'));
  await expect(lightFetch('http://127.0.0.1:9/', { ...init, signal })).rejects.toThrow('too late');
});

describe('over TLS', () => {
  /** A server with a new certificate for 127.0.0.1, and the connections made to it. */
  async function serveTls(answer: RequestListener): Promise<{ url: string; ca: Buffer; sockets: Socket[] }> {
    const directory = mkdtempSync(join(tmpdir(), 'light-fetch-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
    const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '1'];
    const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    execFileSync('openssl', ['req', '-x509', ...newKey, '-keyout', key, '-out', cert, ...subject], {
      stdio: 'ignore',
    });
    const ca = readFileSync(cert);
    const server = createTlsServer({ key: readFileSync(key), cert: ca }, answer);
    const sockets: Socket[] = [];
    server.on('secureConnection', (socket) => sockets.push(socket));
    const port = await listen(server, 0);
    onTestFinished(() => closeServer(server));
    return { url: `https://127.0.0.1:${port}/`, ca, sockets };
  }

  function trust(ca: Buffer): void {
    globalAgent.options.ca = ca;
    onTestFinished(() => {
      delete globalAgent.options.ca;
    });
  }

  const post = { ...init, method: 'POST', body: 'once' };

  test('reuses one TLS connection for consecutive calls', async () => {
    const { url, ca, sockets } = await serveTls((_, response) => void response.end('{"ok":true}'));
    trust(ca);
    for (let i = 0; i < 3; i++) expect(await (await lightFetch(url, post)).text()).toBe('{"ok":true}');
    expect(sockets.length).toBe(1);
  });

  test('sends nothing to a server whose certificate is not trusted', async () => {
    let requests = 0;
    const { url } = await serveTls((_, response) => {
      requests++;
      response.end();
    });
    await expect(lightFetch(url, post)).rejects.toMatchObject({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
    expect(requests).toBe(0);
  });

  test('refuses a certificate for another host name', async () => {
    const { url, ca } = await serveTls((_, response) => void response.end());
    trust(ca);
    const other = url.replace('127.0.0.1', 'localhost');
    await expect(lightFetch(other, post)).rejects.toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  });

  test('reconnects when the server closed the idle keep-alive socket', async () => {
    const { url, ca, sockets } = await serveTls((_, response) => void response.end('answer'));
    trust(ca);
    await lightFetch(url, post);
    sockets[0]?.end();
    await expect.poll(() => Object.values(globalAgent.freeSockets).flat().length).toBe(0);
    expect(await (await lightFetch(url, post)).text()).toBe('answer');
    expect(sockets.length).toBe(2);
  });
});
