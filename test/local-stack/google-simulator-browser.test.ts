import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type GoogleSimulator, startGoogleSimulator } from '../../infra/local/google/simulator.ts';
import { barriers, launchChromium, withoutChromium } from '../support/chromium.ts';
import { ada, appointment, client, officialClients, scopeOf } from './google-clients.ts';

describe.skipIf(withoutChromium)('pages of the simulated Google in Chromium', () => {
  let google: GoogleSimulator;
  let browser: Browser;
  let page: Page;
  const app = createServer((_, response) => response.end('back in the app'));
  const callback = () => `http://localhost:${(app.address() as AddressInfo).port}/callback`;
  const { calendarClient } = officialClients(() => google);

  beforeAll(async () => {
    await new Promise<void>((resolve) => app.listen(0, 'localhost', resolve));
    google = await startGoogleSimulator({ clients: [{ ...client, redirectUris: [callback()] }] });
    browser = await launchChromium();
    page = await browser.newPage();
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    await google?.close();
    app.close();
  });

  it('consent pages work by keyboard and mouse and return to the app', async () => {
    const query = new URLSearchParams({
      client_id: client.clientId,
      redirect_uri: callback(),
      response_type: 'code',
      scope: `openid email ${scopeOf('.events')} ${scopeOf('.calendarlist.readonly')}`,
      state: 'back',
    });
    await page.goto(`${google.url}/o/oauth2/v2/auth?${query}`);
    expect(await barriers(page)).toEqual([]);
    await page.getByRole('button', { name: 'Ada Example' }).click();
    expect(await barriers(page)).toEqual([]);
    await page.getByLabel('View and edit events on all your calendars').check();
    await page.getByRole('button', { name: 'Allow' }).press('Enter');
    await page.getByText('back in the app').waitFor();
    const answer = new URL(page.url()).searchParams;
    expect(answer.get('state')).toBe('back');
    expect(answer.get('scope')).toContain(scopeOf('.events'));
    expect(answer.get('scope')).not.toContain('calendarlist');
  }, 30_000);

  it('the calendar page places an event by its hours and links to it', async () => {
    await calendarClient().events.insert({ calendarId: 'primary', requestBody: appointment });
    await page.goto(`${google.url}/calendar?user=${ada}&date=2026-11-23`);
    expect(await barriers(page)).toEqual([]);
    const event = page.getByRole('link', { name: 'First meeting' });
    const box = await event.boundingBox();
    const hour = await page.locator('.hours span').nth(2).boundingBox();
    expect(await page.locator('.hours span').nth(2).textContent()).toBe('10:00');
    // As tall as an hour, and starting at the label of its hour.
    expect(Math.abs((box?.height ?? 0) - (hour?.height ?? 0))).toBeLessThan(4);
    expect(Math.abs((box?.y ?? 0) - (hour?.y ?? 0))).toBeLessThan(14);
    await event.click();
    await page.getByRole('heading', { name: 'First meeting' }).waitFor();
    expect(await barriers(page)).toEqual([]);
    await page.getByRole('button', { name: /Delete event/ }).click();
    await page.getByText('This event has been deleted').waitFor();
  }, 30_000);
});
