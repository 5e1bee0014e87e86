import { createServer, type RequestListener } from 'node:http';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { closeServer, listen } from '../../infra/local/ports.ts';
import { lightFetch } from '../../shared/light-fetch.ts';

async function serve(answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  const port = await listen(server, 0);
  onTestFinished(() => closeServer(server));
  return `http://127.0.0.1:${port}/path?query=1`;
}

const init = { method: 'GET', headers: {}, redirect: 'error' as const, signal: AbortSignal.timeout(10_000) };

test('sends method, path, headers and body, and gives status, headers and text', async () => {
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

test('a redirect is an answer, and is not followed', async () => {
  let requests = 0;
  const url = await serve((_, response) => {
    requests++;
    response.writeHead(302, { location: '/elsewhere' }).end();
  });
  expect(await lightFetch(url, init)).toMatchObject({ status: 302 });
  expect(requests).toBe(1);
});

test('rejects with the reason of its signal', async () => {
  const url = await serve(() => {});
  const waiting = lightFetch(url, { ...init, signal: AbortSignal.timeout(50) });
  await expect(waiting).rejects.toMatchObject({ name: 'TimeoutError' });
});

test('stops waiting in the middle of an answer too', async () => {
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
])('rejects where the connection ends %s', async (_, answer) => {
  await expect(lightFetch(await serve(answer), init)).rejects.toMatchObject({ code: 'ECONNRESET' });
});
