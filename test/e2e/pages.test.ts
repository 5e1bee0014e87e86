import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import type { Browser, BrowserContextOptions, Page, Response } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { toResponse } from '../../infra/local/aws/http-payload.ts';
import { walkConsent } from '../../infra/local/google/walk-consent.ts';
import { closeServer, listen } from '../../infra/local/ports.ts';
import { type LocalStack, startLocalStack } from '../../infra/local/stack.ts';
import { synthesize } from '../../infra/synthesize.ts';
import { parseKeys } from '../../shared/crypto/keys.ts';
import { signUserToken } from '../../shared/crypto/user-token.ts';
import { errorPage } from '../../shared/http/error-page.ts';
import type { HttpRequest } from '../../shared/http/http.ts';
import { AppError, type ErrorCode } from '../../shared/lib/app-error.ts';
import { audiences, routes } from '../../shared/lib/names.ts';
import { temporaryDirectory } from '../local-stack/local-assembly.ts';
import { launchChromium, withoutChromium } from '../support/chromium.ts';
import { linkFor, openLink, secretsOf } from './browser.ts';

/** A page of LeadsCalendar's own app. */
const app = 'https://app.example.com';
const ada = 'ada@example.com';

/** Texts that call `ran()` if they are treated as anything but text. */
const payloads: Record<string, string> = {
  'a script': '<script>ran()</script>',
  'an image': '<img src=x onerror=ran()>',
  'the end of an attribute': '"><svg onload=ran()>',
  'the end of another': "' autofocus tabindex=1 onfocus=ran() x='",
  'an address': 'javascript:ran()',
  'the end of the title': '</title></style></textarea></pre><script>ran()</script>',
  'a comment': '<!--><script>ran()</script>--><![CDATA[<script>ran()</script>]]>',
  templates: '{{constructor.constructor("ran()")()}} <%= ran() %> #{ran()} $\x7bran()} %24%7Bran()%7D',
  entities: '&lt;script&gt;ran()&lt;/script&gt; &#60;script&#62;ran()&#60;/script&#62;',
  'text from right to left': '\u202e<script>ran()</script>\u202d\u2066',
  'a NUL': '\0<scr\0ipt>ran()</script><script\0>ran()</script>',
  lines: '\r\n\r\n<script>ran()</script>\u2028\u2029',
  'ten kilobytes': '<b onclick=ran()><script>ran()</script>'.repeat(260),
};
const names = Object.keys(payloads);
const textOf = (name: string): string => payloads[name] as string;
/** All of them that a request line can hold. */
const everything = Object.values(payloads)
  .map((text) => text.slice(0, 200))
  .join(' ');
/** Characters that an account's address can hold. */
const emailOf = (name: string): string =>
  `${names.indexOf(name)}${textOf(name)
    .replace(/[\s\0]/g, '')
    .slice(0, 1000)}@example.com`;
/** As HTML shows it: without NUL, and with collapsed white space. */
const asShown = (text: string | null): string =>
  (text ?? '').replaceAll('\0', '').replace(/\s+/g, ' ').trim();

describe.skipIf(withoutChromium)('* pages in Chromium', { timeout: 120_000 }, () => {
  let stack: LocalStack;
  let browser: Browser;
  /** Injected scripts that ran, on any page. */
  let ran: string[] = [];

  beforeAll(async () => {
    const assembly = temporaryDirectory();
    synthesize(assembly, { returnOrigins: app });
    [stack, browser] = await Promise.all([
      startLocalStack({ google: { kind: 'simulator' }, schedules: false, assembly }),
      launchChromium(),
    ]);
  });
  afterAll(async () => {
    await browser?.close();
    await stack?.close();
  });
  afterEach(() => {
    const seen = ran;
    ran = [];
    expect(seen).toEqual([]);
  });

  /** A page of a new browser. */
  async function newPage(options: BrowserContextOptions = {}): Promise<Page> {
    const context = await browser.newContext({ locale: 'en-GB', ...options });
    context.setDefaultTimeout(20_000);
    onTestFinished(() => context.close());
    await context.exposeFunction('ran', () => ran.push('a script'));
    await context.addInitScript(`
      window.violations = [];
      document.addEventListener('securitypolicyviolation', (event) =>
        window.violations.push(event.violatedDirective));`);
    const page = await context.newPage();
    page.on('dialog', (dialog) => ran.push(dialog.message()));
    page.on('pageerror', (error) => ran.push(error.message));
    context.on('page', (opened) => ran.push(`a window: ${opened.url()}`));
    return page;
  }
  /** Without the policy, which would hide an injection. */
  const defenceless = () => newPage({ bypassCSP: true });

  const ofPage = <T>(page: Page, script: string): Promise<T> => page.evaluate(script);
  /** Event handlers of images and of focus run a moment later. */
  const aMoment = (page: Page) => ofPage(page, 'new Promise((resolve) => setTimeout(resolve, 100))');
  /** All elements with their attribute names: an injection would change them. */
  const outline = (page: Page): Promise<string[]> =>
    ofPage(
      page,
      `[...document.querySelectorAll('*')].map((element) =>
      [element.tagName, ...[...element.attributes].map(({ name }) => name)].join(' ').toLowerCase())`,
    );
  /** Elements and addresses that no page of ours or of the simulator has. */
  const foreign = (page: Page): Promise<string[]> =>
    ofPage(
      page,
      `[...document.querySelectorAll('*')].flatMap((element) => [
      ...(/^(script|img|iframe|object|embed|base|b|textarea)$/i.test(element.tagName) ? [element.tagName] : []),
      ...[...element.attributes].flatMap(({ name, value }) =>
        /^on|^autofocus$|^style$/i.test(name) || /^\\s*(javascript|data|vbscript):/i.test(value) && name !== 'value'
          ? [element.tagName + ' ' + name] : []),
      ...(element.href !== undefined && element.href.baseVal === undefined && !/^https?:/.test(element.href)
        ? [element.tagName + ' to ' + element.href] : []),
    ])`,
    );
  const title = (page: Page) => page.getByRole('heading', { level: 1 }).textContent();
  const codeOn = (page: Page) => page.locator('footer code').textContent();

  /** Headers of the connection, not of the page. */
  const framing = ['connection', 'keep-alive', 'date', 'content-length', 'transfer-encoding'];
  /** Every protection of a page of ours, word by word. */
  async function checkHeaders(response: Response | null): Promise<void> {
    const style = /<style>([\s\S]*?)<\/style>/.exec((await response?.text()) ?? '')?.[1] ?? '';
    const hash = createHash('sha256').update(style).digest('base64');
    const all = Object.entries((await response?.allHeaders()) ?? {});
    const headers = Object.fromEntries(all.filter(([name]) => !framing.includes(name)));
    expect(headers).toEqual({
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
      'x-frame-options': 'DENY',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'strict-transport-security': 'max-age=63072000; includeSubDomains',
      'cache-control': 'no-store',
    });
  }

  /** Pages look the same with harmless and with hostile text. */
  async function looksTheSame(
    page: Page,
    pages: (text: string) => [address: string, code: string][],
  ): Promise<void> {
    const hostile = pages(encodeURIComponent(everything));
    for (const [index, [address, code]] of pages('harmless').entries()) {
      await page.goto(address);
      const asUsual = await outline(page);
      const [changed = ''] = hostile[index] ?? [];
      await checkHeaders(await page.goto(changed));
      expect(await codeOn(page), changed).toBe(code);
      expect(await outline(page), changed).toEqual(asUsual);
      expect(await page.content()).not.toContain('ran()');
      await aMoment(page);
    }
  }

  describe('our pages', () => {
    const connect = (query: string) => `${stack.url}${routes.connect}?${query}`;
    const callback = (query: string) => `${stack.url}${routes.callback}?${query}`;

    it("our pages show nothing of a callback's parameters except the state of another try", async () => {
      const page = await defenceless();
      await page.goto(await linkFor(stack, 'injected'));
      const state = new URL(page.url()).searchParams.get('state') ?? '';
      await looksTheSame(page, (text) => [
        [callback(`state=${state}&error=${text}&error_description=${text}`), 'authorization_failed'],
        [callback(`state=${state}&error=x&${text}=${text}&error_uri=${text}`), 'authorization_failed'],
        [callback(`state=${state}&error=access_denied&code=${text}`), 'access_denied'],
        [callback(`state=${state}&code=${text}`), 'authorization_failed'],
      ]);
      const retry = await page.getByRole('link', { name: 'Try again' }).getAttribute('href');
      expect(new URL(retry ?? '', page.url()).href).toBe(connect(`retry=${state}`));
    });

    it('our pages show nothing of a link or state that they refuse', async () => {
      const page = await defenceless();
      const keys = parseKeys('link-signing', secretsOf(stack).linkSigning);
      const token = (userId: string) =>
        signUserToken(keys, { userId, audience: audiences.connect, now: Math.floor(Date.now() / 1000) });
      const [right, named, hostile] = [await token('user'), await token('no one'), await token(everything)];
      await looksTheSame(page, (text) => [
        [connect(`token=${text}`), 'token_invalid'],
        // The user that it names.
        [connect(`token=${text === 'harmless' ? named : hostile}`), 'token_invalid'],
        [connect(`token=${right}&return_to=${text}`), 'return_to_not_allowed'],
        [connect(`token=${right}&return_to=${app}${text}`), 'return_to_not_allowed'],
        [connect(`token=${right}&return_to=javascript:${text}`), 'return_to_not_allowed'],
        [connect(`retry=${text}`), 'state_invalid'],
        [callback(`state=${text}`), 'state_invalid'],
        [callback(`error=${text}`), 'state_missing'],
      ]);
    });

    it('our pages greet any account with its address as text', async () => {
      const page = await defenceless();
      let asUsual: string[] | undefined;
      for (const [index, email] of [ada, ...names.map(emailOf)].entries()) {
        const known = { sub: `greeted-${index}`, email, name: 'Someone', timeZone: 'UTC' };
        if (index > 0) stack.google?.control.addAccount(known);
        const { location, cookie } = await openLink(await linkFor(stack, `greeted-${index}`));
        const [name = '', value = ''] = cookie.split('=');
        await page.context().addCookies([{ name, value, url: stack.url }]);
        await checkHeaders(await page.goto(await walkConsent(location, { account: email })));
        expect(await title(page)).toBe('Your calendar is connected');
        asUsual ??= await outline(page);
        expect(await outline(page), email).toEqual(asUsual);
        expect(asShown(await page.getByRole('main').textContent())).toContain(asShown(email));
      }
      await aMoment(page);
    });

    it("our error pages escape Google's error and the state, for every error code", async () => {
      const source = readFileSync(join(import.meta.dirname, '../../shared/lib/app-error.ts'), 'utf8');
      const [, union = ''] = /ErrorCode =([\s\S]*?);/.exec(source) ?? [];
      const codes = [...union.matchAll(/'(\w+)'/g)].map(([, code]) => code as ErrorCode);
      expect(codes.length).toBeGreaterThan(40);
      // The page with every optional part.
      let shown = new AppError('access_denied', '');
      const server: Server = createServer((request, response) => {
        const rawQueryString = request.url?.split('?')[1] ?? '';
        const event = { rawQueryString, headers: { accept: 'text/html' } } as unknown as HttpRequest;
        const wire = toResponse(errorPage(shown, event));
        response.writeHead(wire?.statusCode ?? 500, wire?.headers.flat());
        response.end(wire?.body);
      });
      const port = await listen(server, 0);
      onTestFinished(() => closeServer(server));
      const page = await defenceless();
      const address = `http://127.0.0.1:${port}${routes.callback}?state=`;
      await page.goto(`${address}harmless`);
      const asUsual = await outline(page);
      for (const [index, code] of codes.entries()) {
        const text = textOf(names[index % names.length] as string);
        shown = new AppError(code, text, { status: 400 });
        await checkHeaders(await page.goto(`${address}${encodeURIComponent(everything)}`));
        expect(asUsual, code).toEqual(expect.arrayContaining(await outline(page)));
        expect(await codeOn(page)).toBe(code);
        expect(await foreign(page)).toEqual([]);
        const action = page.locator('a.action');
        if ((await action.count()) === 0) continue;
        const href = new URL((await action.getAttribute('href')) ?? '', page.url());
        expect(`${href.origin}${href.pathname}`).toBe(`http://127.0.0.1:${port}${routes.connect}`);
        expect([...href.searchParams]).toEqual([['retry', everything]]);
      }
      await aMoment(page);
    });

    it('API answers are plain text to a browser, also with markup in the request', async () => {
      const page = await newPage();
      const text = encodeURIComponent(everything);
      for (const path of [`bookings/${text}`, `bookings?from=${text}`, text, `connections/me?${text}`]) {
        const response = await page.goto(`${stack.url}/${path}`);
        expect(response?.headers()['content-type']).toMatch(/^application\/(problem\+)?json$/);
        expect(await foreign(page)).toEqual([]);
      }
      await aMoment(page);
    });

    it('our pages render correctly under a policy that allows nothing else', async () => {
      const page = await newPage();
      await page.goto(connect('token=harmless'));
      expect(await ofPage(page, 'window.violations')).toEqual([]);
      expect(await ofPage(page, 'getComputedStyle(document.body).textAlign')).toBe('center');
      await ofPage(
        page,
        `{
        document.body.insertAdjacentHTML('beforeend',
          '<img src="/x.png"><b style="color:red" onclick="ran()">b</b><iframe src="/health"></iframe>' +
          '<form action="/health"><button>send</button></form><base href="https://evil.example/">');
        const script = document.createElement('script');
        script.textContent = 'ran()';
        document.body.append(script);
        document.querySelector('b').click();
        document.querySelector('form button').click();
      }`,
      );
      const directives = [
        'base-uri',
        'form-action',
        'frame-src',
        'img-src',
        'script-src-attr',
        'script-src-elem',
        'style-src-attr',
      ];
      await expect
        .poll(async () => {
          const seen = await ofPage<string[]>(page, 'window.violations');
          return [...new Set(seen)].sort();
        })
        .toEqual(directives);
      await aMoment(page);
      expect(page.url()).toBe(connect('token=harmless'));
    });

    it('our pages do not appear in a frame of another page', async () => {
      const page = await newPage();
      const addresses = [connect('token=harmless'), callback('state=harmless')];
      await page.route(`${app}/**`, (route) =>
        route.fulfill({
          contentType: 'text/html',
          body: addresses.map((each) => `<iframe src="${each}"></iframe>`).join(''),
        }),
      );
      await page.goto(`${app}/settings`);
      await page.waitForLoadState('networkidle');
      const frames = page.frames().slice(1);
      expect(frames).toHaveLength(2);
      for (const frame of frames) expect(frame.url()).toBe('chrome-error://chromewebdata/');
    });
  });

  describe('pages of the simulated Google', () => {
    const control = () => stack.google?.control as NonNullable<LocalStack['google']>['control'];
    async function look(page: Page, address: string): Promise<void> {
      const response = await page.goto(address);
      expect(await foreign(page), address).toEqual([]);
      expect(await response?.allHeaders()).toMatchObject({
        'content-security-policy':
          "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'",
        'referrer-policy': 'no-referrer',
        'x-content-type-options': 'nosniff',
        'cache-control': 'no-store',
      });
    }
    /** An event of an account, both with the same text. Returns the address of its page. */
    async function enter(name: string): Promise<string> {
      const text = textOf(name);
      const email = `event-${emailOf(name)}`;
      control().addAccount({ sub: `simulated ${name}`, email, name: text, timeZone: 'UTC' });
      const scopes = ['https://www.googleapis.com/auth/calendar.events'];
      const { accessToken } = control().grant({ clientId: text, email, scopes });
      const at = (hour: number) => ({ dateTime: `2026-11-23T${hour}:00:00Z` });
      const response = await fetch(`${stack.googleUrl}/calendar/v3/calendars/primary/events`, {
        method: 'POST',
        headers: { authorization: `Bearer ${accessToken}`, 'content-type': 'application/json' },
        body: JSON.stringify({
          summary: text,
          location: text,
          description: text,
          start: at(10),
          end: at(11),
          attendees: [{ email: `${text}@guest.example.com` }],
          extendedProperties: { private: { [text]: text } },
        }),
      });
      expect(response.status).toBe(200);
      return ((await response.json()) as { htmlLink: string }).htmlLink;
    }

    it('the simulated Google shows accounts, calendars, apps and events as text', async () => {
      const page = await defenceless();
      for (const name of names) {
        const text = asShown(textOf(name));
        await look(page, await enter(name));
        expect(asShown(await title(page))).toBe(text);
        const shown = asShown(await page.getByRole('main').textContent());
        expect(shown.split(text).length, name).toBeGreaterThan(4);
        const query = new URLSearchParams({ user: `event-${emailOf(name)}`, date: '2026-11-23' });
        await look(page, `${stack.googleUrl}/calendar?${query}`);
        expect(asShown(await page.getByRole('main').textContent()), name).toContain(text);
      }
      await look(page, stack.googleUrl as string);
      await page.goto(await linkFor(stack, 'chooser'));
      expect(await page.locator('button.account').count()).toBeGreaterThan(names.length);
      await look(page, page.url());
      await aMoment(page);
    });

    it('pages of the simulated Google escape every request parameter', async () => {
      const page = await defenceless();
      const google = stack.googleUrl;
      const { location } = await openLink(await linkFor(stack, 'visitor'));
      const { searchParams } = new URL(location);
      for (const name of [...searchParams.keys(), 'login_hint']) {
        const query = new URLSearchParams(searchParams);
        query.set(name, everything);
        await look(page, `${google}/o/oauth2/v2/auth?${query}`);
        await look(
          page,
          `${google}/o/oauth2/v2/consent?${new URLSearchParams({ request: `${query}`, account: ada })}`,
        );
      }
      const text = encodeURIComponent(everything);
      await look(page, `${google}/o/oauth2/v2/consent?request=${text}&account=${text}`);
      await look(page, `${google}/calendar?user=${text}&date=${text}`);
      await look(page, `${google}/calendar/event?eid=${text}`);
      await aMoment(page);
    });
  });

  it('no address with a token, state or code is sent as a referrer to another page', async () => {
    const page = await newPage();
    const told: { to: string; referer: string }[] = [];
    page.on('request', async (request) => {
      const { referer = '' } = await request.allHeaders();
      told.push({ to: request.url(), referer });
    });
    const returnTo = `${app}/settings`;
    const link = `${await linkFor(stack, 'teller')}&return_to=${encodeURIComponent(returnTo)}`;
    await page.route(`${app}/**`, (route) =>
      route.fulfill({
        contentType: 'text/html',
        // An app that sends full referrers to every site.
        headers: { 'referrer-policy': 'unsafe-url' },
        body: `<h1>App</h1><a href="${link}">Connect</a>`,
      }),
    );
    await page.goto(`${app}/start?secret=of-the-app`);
    await page.getByRole('link', { name: 'Connect' }).click();
    await page.getByRole('button', { name: ada }).click();
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.getByRole('link', { name: 'Try again' }).click();
    await page.getByRole('button', { name: ada }).click();
    await page.getByRole('button', { name: 'Allow' }).click();
    await page.getByRole('heading', { name: 'App' }).waitFor();
    expect(page.url()).toBe(`${returnTo}?google_calendar=connected`);

    const refererOf = (start: string) =>
      told.filter(({ to }) => to.startsWith(start)).map(({ referer }) => referer);
    // The app sends us the address of the link; we send none.
    expect(refererOf(`${stack.url}${routes.connect}`)).toEqual([`${app}/start?secret=of-the-app`, '']);
    expect(refererOf(`${stack.url}${routes.callback}`)).toEqual(['', '']);
    expect(new Set(refererOf(stack.googleUrl as string))).toEqual(new Set(['']));
    expect(new Set(refererOf(returnTo))).toEqual(new Set(['']));
  });

  describe('the cookie that binds a browser', () => {
    it('the state cookie is bound to this host, HTTP, ten minutes and the same site', async () => {
      const page = await newPage();
      const link = await linkFor(stack, 'bound');
      await page.goto(link);
      const before = await page.context().cookies(stack.url);
      expect(before).toEqual([
        {
          name: 'leadscalendar-connect',
          value: expect.stringMatching(/^[\w-]{43}$/),
          domain: 'localhost',
          path: '/',
          expires: expect.closeTo(Date.now() / 1000 + 600, -1.5),
          httpOnly: true,
          secure: false,
          sameSite: 'Lax',
        },
      ]);
      await page.goto(`${stack.url}${routes.connect}`);
      expect(await ofPage(page, 'document.cookie')).toBe('');
      // Two tabs of one browser do not disturb each other.
      await page.goto(link);
      const { value } = (await page.context().cookies(stack.url))[0] ?? {};
      expect(value).toBe(before[0]?.value);
    });

    it('a deployed service sets the state cookie with the __Host- prefix', async () => {
      const publicUrl = 'https://calendar.example.com';
      const assembly = temporaryDirectory();
      synthesize(assembly, { publicUrl });
      const deployed = await startLocalStack({ google: { kind: 'simulator' }, schedules: false, assembly });
      onTestFinished(() => deployed.close());
      const link = new URL(await linkFor(deployed, 'bound'));
      const answer = await fetch(link, { redirect: 'manual' });
      const cookie = answer.headers.getSetCookie();
      expect(cookie).toEqual([
        expect.stringMatching(
          /^__Host-leadscalendar-connect=[\w-]{43}; Path=\/; Max-Age=600; HttpOnly; SameSite=Lax; Secure$/,
        ),
      ]);

      const page = await newPage();
      await page.route(`${publicUrl}/**`, (route) =>
        route.fulfill({
          contentType: 'text/html',
          headers: { 'set-cookie': cookie[0] as string },
          body: 'set',
        }),
      );
      await page.goto(`${publicUrl}${routes.connect}`);
      expect(await page.context().cookies(publicUrl)).toMatchObject([
        {
          name: '__Host-leadscalendar-connect',
          domain: 'calendar.example.com',
          path: '/',
          httpOnly: true,
          secure: true,
          sameSite: 'Lax',
        },
      ]);
      expect(await ofPage(page, 'document.cookie')).toBe('');
    });
  });
});
