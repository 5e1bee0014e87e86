import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type ServerType, serve } from '@hono/node-server';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { consoleApp } from '../../infra/cli/console/app.ts';
import { openTarget } from '../../infra/cli/ops/target.ts';
import { findingStore } from '../../shared/booking/findings.ts';
import { type OpsStack, startOpsStack } from '../integration/ops-stack.ts';
import { barriers, launchChromium, withoutChromium } from '../support/chromium.ts';

/** The console for operators, over the local stack. */

let world: OpsStack;
let server: ServerType;
let url: string;
/** Names of the calls of DynamoDB. */
const called: string[] = [];

const becomes = (id: string, status: string) =>
  vi.waitFor(async () => expect((await world.booking(id)).status).toBe(status), {
    timeout: 20_000,
    interval: 500,
  });

beforeAll(async () => {
  world = await startOpsStack();
  const target = await openTarget({ local: true, state: world.state });
  target.dynamo.middlewareStack.add(
    (next, { commandName = '' }) =>
      (args) => {
        called.push(commandName);
        return next(args);
      },
    { step: 'initialize' },
  );
  server = serve({ fetch: consoleApp(target).fetch, hostname: '127.0.0.1', port: 0 });
  await new Promise((listening) => server.once('listening', listening));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await world.connect('ada');
  const start = '2032-03-03T10:00:00Z';
  await world.pay('ada', 'console-good', {
    start,
    end: '2032-03-03T11:00:00Z',
    summary: '<script>alert(1)</script>',
  });
  await becomes('console-good', 'scheduled');
  world.stack.google?.control.fail({ on: 'events.insert', how: { status: 400, reason: 'invalid' } });
  await world.pay('ada', 'console-failed', { start: '2032-03-04T10:00:00Z', end: '2032-03-04T11:00:00Z' });
  await becomes('console-failed', 'failed');
  await world.pay('ben', 'console-waiting', { start, end: '2032-03-03T11:00:00Z' });
  await becomes('console-waiting', 'waiting_for_connection');
  const findings = findingStore(target.dynamo, target.output('BookingsTableName'), target.indexShards);
  const place = { calendarId: 'primary', eventId: 'lc1' };
  const at = Math.floor(Date.now() / 1000) - 3600;
  await findings.record({ kind: 'wrong_time', bookingId: 'console-good', userId: 'ada', place }, at);
  await findings.record(
    { kind: 'event_without_booking', bookingId: 'console-gone', userId: 'ada', place },
    at,
  );
});
afterAll(async () => {
  server?.close();
  await world?.stack.close();
});

const get = (path: string, headers: Record<string, string> = {}) =>
  fetch(`${url}${path}`, { headers, redirect: 'manual' });
const formToken = async (): Promise<string> =>
  /name="token" value="([^"]+)"/.exec(await (await get('/user/ada')).text())?.[1] ?? '';

describe('the console', () => {
  it('answers only to names of this machine', async () => {
    const { request } = await import('node:http');
    const status = await new Promise((resolve) =>
      request(url, { headers: { host: 'attacker.example.com' } }, (answer) =>
        resolve(answer.statusCode),
      ).end(),
    );
    expect(status).toBe(403);
  });

  it.each([
    ['no token', async () => ({ body: '', headers: {} })],
    ['a wrong token', async () => ({ body: `token=${'x'.repeat(43)}`, headers: {} })],
    [
      'a right token from another origin',
      async () => ({
        body: `token=${await formToken()}`,
        headers: { origin: 'https://attacker.example.com' },
      }),
    ],
  ])('a form with %s changes nothing', async (_, form) => {
    const { body, headers } = await form();
    const before = await world.booking('console-failed');
    for (const path of ['/booking/console-failed/retry', '/finding/any/repair']) {
      const answer = await fetch(`${url}${path}`, { method: 'POST', body, headers });
      expect(answer.status).toBe(403);
    }
    expect(await world.booking('console-failed')).toEqual(before);
  });

  it('a text of a booking is never part of the page itself', async () => {
    const page = await (await get('/booking/console-good')).text();
    expect(page).toContain('&lt;script&gt;alert(1)&lt;/script&gt;');
    expect(page).not.toContain('<script');
  });

  it.each([
    ['console-good', '/booking/console-good'],
    ['pi_console-good', '/payment/pi_console-good'],
    ['ben', '/find'],
  ])('a search for %s leads to it', async (text, path) => {
    const answer = await get(`/find?text=${text}`);
    if (path === '/find') expect(answer.status).toBe(200);
    else expect(answer.headers.get('location')).toBe(path);
  });

  it('says what is not there', async () => {
    expect(await (await get('/booking/unknown')).text()).toContain('There is no booking &quot;unknown&quot;');
    expect((await get('/nothing')).status).toBe(404);
    expect((await get('/list/nothing')).status).toBe(404);
  });

  it('a notice is shown once, and no link can make a page say something', async () => {
    const answer = await get('/booking/console-good?notice=You+won&said=You+won');
    expect(await answer.text()).not.toContain('You won');
  });
});

describe.skipIf(withoutChromium)('the console in Chromium', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(() => browser?.close());

  /** Scripts are only for the check of barriers, which waits for style sheets with a timer. */
  async function newPage(javaScriptEnabled = false): Promise<Page> {
    const context = await browser.newContext({ javaScriptEnabled, locale: 'en-GB' });
    onTestFinished(() => context.close());
    const page = await context.newPage();
    page.on('console', (message) => {
      if (message.type() === 'error') throw new Error(message.text());
    });
    return page;
  }

  it('an operator finds a failed booking, retries it, and sees it scheduled', async () => {
    const page = await newPage();
    await page.goto(url);
    await page.getByRole('searchbox').fill('console-failed');
    await page.getByRole('button', { name: 'Find' }).click();
    expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe('Booking console-failed');
    expect(await page.getByRole('main').textContent()).toContain('failed');
    await page.getByRole('button', { name: 'retry' }).click();
    expect(await page.getByRole('status').textContent()).toContain('handed over');
    await becomes('console-failed', 'scheduled');
    await page.reload();
    expect(await page.getByRole('status').count()).toBe(0);
    expect(await page.getByRole('main').textContent()).toMatch(/retry requested[\s\S]*scheduled/);
  });

  it('an operator sees what the audit has found, and repairs it', async () => {
    const page = await newPage();
    await page.goto(`${url}/audit`);
    expect(await page.getByRole('main').textContent()).toMatch(
      /The audit has not run yet[\s\S]*wrong time[\s\S]*console-good/,
    );
    // Where no booking is known, there is nothing that sync could do.
    expect(await page.getByRole('button', { name: 'Repair' }).count()).toBe(1);
    await page.getByRole('button', { name: 'Repair' }).click();
    expect(await page.getByRole('status').textContent()).toContain('handed over');
    await becomes('console-good', 'scheduled');
    expect((await world.booking('console-good')).timeline.map(({ what }) => what)).toContain(
      'repair requested',
    );
  });

  it.each([
    ['overview', '/'],
    ['audit', '/audit'],
    ['doctor', '/doctor'],
    ['list', '/list/waiting'],
    ['booking', '/booking/console-good'],
    ['payment', '/payment/pi_console-good'],
    ['user', '/user/ada?week=2032-03-03'],
    ['find', '/find?text=nothing'],
  ])('the page %s has no barrier in light and dark, and fits a phone', async (name, path) => {
    const page = await newPage(true);
    await page.goto(`${url}${path}`);
    for (const width of [1280, 320]) {
      await page.setViewportSize({ width, height: 800 });
      const overflow = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
      expect(await page.evaluate(overflow), `too wide for ${width} px`).toBe(0);
    }
    await page.setViewportSize({ width: 1100, height: 800 });
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      const folder = process.env.SCREENSHOTS;
      if (folder)
        await page.screenshot({
          path: join(folder, `${name}${colorScheme === 'dark' ? '-dark' : ''}.png`),
          fullPage: true,
        });
      expect(await barriers(page), colorScheme).toEqual([]);
    }
  });

  it('the week of a user shows the bookings on their days', async () => {
    const page = await newPage();
    await page.goto(`${url}/user/ada?week=2032-03-03`);
    const day = page.getByRole('listitem').filter({ hasText: 'Wed 03-03' });
    expect(await day.textContent()).toMatch(/10:00\s+console-good/);
    await page.getByRole('link', { name: 'Next week' }).click();
    expect(await page.getByRole('heading', { name: /Week of/ }).textContent()).toBe('Week of 2032-03-08');
  });
});

it('no page of the console scans a table', () => {
  expect(called.length).toBeGreaterThan(20);
  expect(called.filter((name) => name === 'ScanCommand')).toEqual([]);
});
