import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { checkoutCompleted, deliver, demoBooking } from '../../infra/cli/payment.ts';
import { type LocalStack, startLocalStack } from '../../infra/local/stack.ts';
import { synthesize } from '../../infra/synthesize.ts';
import { barriers, launchChromium, withoutChromium } from '../support/chromium.ts';
import { linkFor, secretsOf } from './browser.ts';

const calendarPermission = 'See, create, change and delete events on the calendars that you own';
/** A page of LeadsCalendar's own app. */
const app = 'https://app.example.com';
/** Far longer than a line, to see that it fits. */
const longEmail = `${'a'.repeat(64)}@${'long-'.repeat(10)}domain.example.com`;

describe.skipIf(withoutChromium)('the service in Chromium', () => {
  let directory: string;
  let stack: LocalStack;
  let browser: Browser;
  /** Chromium's complaints: violated policies, failed requests, script errors. */
  let complaints: string[] = [];

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'leadscalendar-chromium-'));
    // With an origin to return to, which the assembly of the other tests does not have.
    synthesize(directory, { returnOrigins: app });
    [stack, browser] = await Promise.all([
      startLocalStack({ google: { kind: 'simulator' }, schedules: false, assembly: directory }),
      launchChromium(),
    ]);
  });
  afterAll(async () => {
    await browser?.close();
    await stack?.close();
    if (directory) rmSync(directory, { recursive: true, force: true });
  });
  afterEach(() => {
    const seen = complaints;
    complaints = [];
    expect(seen).toEqual([]);
  });

  /** A page of a new browser. Scripts are off: no page here may need them. */
  async function newPage(options: BrowserContextOptions = {}): Promise<Page> {
    const context = await browser.newContext({ javaScriptEnabled: false, locale: 'en-GB', ...options });
    context.setDefaultTimeout(20_000);
    onTestFinished(() => context.close());
    const page = await context.newPage();
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => {
      // Chromium reports every answer from 400 on as an error; the test checks that the page explains it.
      const refused = /^Failed to load resource: the server responded with a status of 4/;
      const { url } = message.location();
      const isDocument = url === page.url();
      if (message.type() === 'error' && !(isDocument && refused.test(message.text())))
        complaints.push(`${message.text()} (${url})`);
    });
    page.on('request', (request) => {
      if (request.url().startsWith(stack.url) && request.resourceType() !== 'document')
        complaints.push(`Our page asks for ${request.url()}`);
    });
    return page;
  }

  /** From the link to Google's consent page. A single permission has no box to tick. */
  async function openConsent(page: Page, link: string, email = 'ada@example.com'): Promise<void> {
    await page.goto(link);
    await page.getByRole('button', { name: email }).click();
    await page.getByText(calendarPermission).waitFor();
  }
  const allow = (page: Page) => page.getByRole('button', { name: 'Allow' }).click();
  const title = (page: Page) => page.getByRole('heading', { level: 1 }).textContent();
  const text = (page: Page) => page.getByRole('main').textContent();

  /** Saves a picture for people, if SCREENSHOTS names a folder. */
  async function picture(page: Page, name: string): Promise<void> {
    const folder = process.env.SCREENSHOTS;
    if (folder) await page.screenshot({ path: join(folder, `${name}.png`) });
  }

  /** No element is wider than the screen, on desktop and phone; no accessibility barriers, in light and dark. */
  async function looksRight(page: Page, name: string): Promise<void> {
    for (const width of [1280, 320]) {
      await page.setViewportSize({ width, height: 720 });
      const overflow = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
      expect(await page.evaluate(overflow), `${name}: too wide for ${width} px`).toBe(0);
    }
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      await picture(page, `${name}-${colorScheme}`);
      expect(await barriers(page), `${name}, ${colorScheme}`).toEqual([]);
    }
  }

  it('a user connects, a payment arrives, and the calendar shows the event', async () => {
    const page = await newPage();
    await page.goto(await linkFor(stack, 'ada'));
    await picture(page, '1-choose-account');
    await page.getByRole('button', { name: 'Ada Example' }).click();
    await picture(page, '2-consent');
    await page.getByRole('button', { name: 'Allow' }).click();
    expect(await title(page)).toBe('Your calendar is connected');
    expect(await text(page)).toContain('ada@example.com');
    await picture(page, '3-connected');

    const booking = demoBooking('ada', 'booking-in-chromium', Date.now());
    const to = { webhookUrl: `${stack.url}/webhooks/stripe`, signingSecret: secretsOf(stack).stripe };
    const answer = await deliver(checkoutCompleted(booking, Date.now(), 'chromium'), to, Date.now());
    expect(answer.status).toBe(200);

    const calendar = `${stack.googleUrl}/calendar?user=ada@example.com&date=${booking.start.slice(0, 10)}`;
    const event = page.getByRole('link', { name: booking.summary });
    await expect.poll(() => page.goto(calendar).then(() => event.count()), { timeout: 20_000 }).toBe(1);
    await picture(page, '4-calendar');
    await event.click();
    expect(await title(page)).toBe(booking.summary);
    expect(await text(page)).toContain(booking.location);
    await picture(page, '5-event');
  });

  it('the result page fits the longest name on the smallest phone, in light and dark', async () => {
    stack.google?.control.addAccount({
      sub: '99',
      email: longEmail,
      name: 'Long',
      timeZone: 'Europe/Berlin',
    });
    const page = await newPage({ javaScriptEnabled: true });
    await openConsent(page, await linkFor(stack, 'long'), longEmail);
    await allow(page);
    expect(await text(page)).toContain(longEmail);
    await looksRight(page, 'connected');
  });

  it('after a cancel on the consent page nothing is connected, and the user can try again', async () => {
    const page = await newPage({ javaScriptEnabled: true });
    await openConsent(page, await linkFor(stack, 'canceller'));
    await page.getByRole('button', { name: 'Cancel' }).click();
    expect(await title(page)).toBe('Your calendar was not connected');
    expect(await text(page)).toMatch(/nothing was changed.*try again.*access_denied/s);
    await looksRight(page, 'access-denied');
    await page.getByRole('link', { name: 'Try again' }).click();
    await page.getByRole('button', { name: 'ada@example.com' }).click();
    await allow(page);
    expect(await title(page)).toBe('Your calendar is connected');
  });

  it('a callback in another browser connects nothing, and the original browser still can', async () => {
    const mine = await newPage();
    const theirs = await newPage({ javaScriptEnabled: true });
    await openConsent(mine, await linkFor(stack, 'lured'));
    // Paused before it is followed, as if an attacker wanted to send the address to another person.
    let callback = '';
    await mine.route('**/o/oauth2/v2/consent', async (route) => {
      callback = (await route.fetch({ maxRedirects: 0 })).headers().location ?? '';
      await route.fulfill({ body: 'held back' });
    });
    await allow(mine);
    await mine.getByText('held back').waitFor();

    await theirs.goto(callback);
    expect(await title(theirs)).toBe('Please use the same browser');
    expect(await text(theirs)).toContain('wrong_browser');
    await looksRight(theirs, 'wrong-browser');

    await mine.goto(callback);
    expect(await title(mine)).toBe('Your calendar is connected');
  });

  it('an expired link shows that it expired and what to do', async () => {
    const page = await newPage({ javaScriptEnabled: true });
    await page.goto(await linkFor(stack, 'late', Date.now() - 700_000));
    expect(await title(page)).toBe('This link has expired');
    expect(await text(page)).toMatch(/ten minutes.*start again.*token_expired/s);
    await looksRight(page, 'link-expired');
  });

  it('reloading the result page shows success again and changes nothing', async () => {
    const page = await newPage();
    await openConsent(page, await linkFor(stack, 'reloader'));
    await allow(page);
    expect(await title(page)).toBe('Your calendar is connected');
    await page.reload();
    expect(await title(page)).toBe('This link was used already');
    await picture(page, 'done-already');
  });

  it('returns to the LeadsCalendar app if the link says so', async () => {
    const page = await newPage();
    await page.route(`${app}/**`, (route) =>
      route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>App</title><h1>Settings</h1>' }),
    );
    const returnTo = `${app}/settings?tab=calendar`;
    const link = `${await linkFor(stack, 'returning')}&return_to=${encodeURIComponent(returnTo)}`;
    await openConsent(page, link);
    await allow(page);
    expect(await title(page)).toBe('Settings');
    expect(page.url()).toBe(`${returnTo}&google_calendar=connected`);
  });
});
