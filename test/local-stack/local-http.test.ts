import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { httpApi, lambda, run, writeAssembly } from './local-assembly.ts';

/** Answers with its event, or with the text of the header `x-answer`. */
const echo = `export const handler = async (event) => {
  const answer = event.headers['x-answer'];
  if (answer === 'throw') throw new Error('on purpose');
  if (answer) return JSON.parse(answer);
  return { statusCode: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify(event) };
};`;

const routes = [
  'GET /echo',
  'POST /echo',
  'GET /items/{id}',
  'GET /items/special',
  'ANY /files/{path+}',
  'GET /',
];

const start = () => run(writeAssembly({ Echo: lambda('echo'), ...httpApi('Echo', routes) }, { echo }));

/** Sends a request verbatim, without a client library that would normalize it. */
async function sendRaw(url: string, request: string | Buffer): Promise<string> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.write(request);
  return text(socket);
}

test('a request becomes an event of payload format 2.0', async () => {
  const { url } = await start();
  const answer = await sendRaw(
    url,
    [
      'GET /echo?a=1&b=%2F&a=2&empty= HTTP/1.1',
      'Host: api.example.com:443',
      'X-Twice: one',
      'x-twice: two',
      'Cookie: first=1; second=2',
      'User-Agent: a test',
      'Connection: close',
      '',
      '',
    ].join('\r\n'),
  );
  const event = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')));
  expect(event).toMatchObject({
    version: '2.0',
    routeKey: 'GET /echo',
    rawPath: '/echo',
    rawQueryString: 'a=1&b=%2F&a=2&empty=',
    queryStringParameters: { a: '1,2', b: '/', empty: '' },
    cookies: ['first=1', 'second=2'],
    headers: { host: 'api.example.com:443', 'x-twice': 'one,two', 'user-agent': 'a test' },
    requestContext: {
      http: {
        method: 'GET',
        path: '/echo',
        protocol: 'HTTP/1.1',
        sourceIp: '127.0.0.1',
        userAgent: 'a test',
      },
      routeKey: 'GET /echo',
      stage: '$default',
      timeEpoch: expect.any(Number),
      time: expect.stringMatching(/^\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d \+0000$/),
    },
    isBase64Encoded: false,
  });
  expect(event.headers).not.toHaveProperty('cookie');
  expect(event).not.toHaveProperty('body');
  expect(event).not.toHaveProperty('pathParameters');
});

test.each([
  ['JSON as it is', 'application/json', Buffer.from('{"ü":1}'), false],
  ['a form as base64', 'application/x-www-form-urlencoded', Buffer.from('a=1'), true],
  ['bytes as base64', 'application/octet-stream', Buffer.from([0, 255, 1]), true],
  ['text that is not UTF-8 as base64', 'application/json', Buffer.from([0x22, 0xff, 0x22]), true],
])('a request body arrives byte for byte: %s', async (_what, contentType, body, isBase64Encoded) => {
  const { url } = await start();
  const response = await fetch(`${url}/echo`, {
    method: 'POST',
    headers: { 'content-type': contentType },
    body,
  });
  const event = (await response.json()) as { body: string; isBase64Encoded: boolean };
  expect(event.isBase64Encoded).toBe(isBase64Encoded);
  expect(Buffer.from(event.body, isBase64Encoded ? 'base64' : 'utf8')).toEqual(body);
});

test.each([
  ['/items/42', 'GET /items/{id}', { id: '42' }],
  ['/items/a%20b', 'GET /items/{id}', { id: 'a b' }],
  ['/items/special', 'GET /items/special', undefined],
  ['/files/a/b/c', 'ANY /files/{path+}', { path: 'a/b/c' }],
  ['/', 'GET /', undefined],
])('%s matches the route %s', async (path, routeKey, pathParameters) => {
  const { url } = await start();
  const event = await (await fetch(url + path)).json();
  expect(event).toMatchObject({ routeKey });
  expect((event as { pathParameters?: unknown }).pathParameters).toEqual(pathParameters);
});

test('answers 404 to a request without a matching route', async () => {
  const { url } = await start();
  for (const [method, path] of [
    ['GET', '/nothing'],
    ['DELETE', '/echo'],
    ['GET', '/items/'],
    ['GET', '/items/1/2'],
    ['GET', '/files/'],
  ]) {
    const response = await fetch(`${url}${path}`, { method: method as string });
    expect([response.status, await response.text()]).toEqual([404, '{"message":"Not Found"}']);
  }
});

const answering = async (answer: unknown) => {
  const { url } = await start();
  return fetch(`${url}/echo`, {
    headers: { 'x-answer': typeof answer === 'string' ? answer : JSON.stringify(answer) },
    redirect: 'manual',
  });
};

test('status, headers and cookies of the answer reach the client', async () => {
  const response = await answering({
    statusCode: 302,
    headers: { Location: '/next', 'Content-Length': '999' },
    cookies: ['a=1; HttpOnly', 'b=2'],
  });
  expect(response.status).toBe(302);
  expect(response.headers.get('location')).toBe('/next');
  expect(response.headers.getSetCookie()).toEqual(['a=1; HttpOnly', 'b=2']);
});

test('a base64 body is sent as bytes', async () => {
  const body = Buffer.from([0, 1, 254, 255]);
  const response = await answering({ statusCode: 200, isBase64Encoded: true, body: body.toString('base64') });
  expect(Buffer.from(await response.arrayBuffer())).toEqual(body);
});

test('an answer without a status becomes a 200 with a JSON body', async () => {
  const response = await answering({ hello: 'world' });
  expect([response.status, response.headers.get('content-type'), await response.json()]).toEqual([
    200,
    'application/json',
    { hello: 'world' },
  ]);
});

test.each([
  ['throw'],
  ['{"statusCode":"many"}'],
  ['{"statusCode":200,"headers":{"x-split":"a\\nb: c"}}'],
  ['{"statusCode":200,"body":{"not":"text"}}'],
])('an invalid answer becomes a 500: %s', async (answer) => {
  const response = await answering(answer);
  expect([response.status, await response.text()]).toEqual([500, '{"message":"Internal Server Error"}']);
});

test('accepts a body of 10 MB and refuses a larger one', async () => {
  const { url } = await start();
  const post = (bytes: number) =>
    fetch(`${url}/items/1`, { method: 'POST', body: Buffer.alloc(bytes, 'a') }).then(({ status }) => status);
  expect(await post(10 * 1024 * 1024)).toBe(404);
  expect(await post(10 * 1024 * 1024 + 1)).toBe(413);
});

test('refuses headers over 10,240 bytes', async () => {
  const { url } = await start();
  const response = await fetch(`${url}/echo`, { headers: { 'x-long': 'a'.repeat(10_300) } });
  expect(response.status).toBe(431);
});

test('names a port that is in use', async () => {
  const { url } = await start();
  const port = Number(new URL(url).port);
  await expect(run(writeAssembly({}), { port })).rejects.toThrow(`Port ${port} is taken`);
});
