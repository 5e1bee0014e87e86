import { Hono } from 'hono';
import { html } from 'hono/html';
import type { SimulatorEnv } from './faults.ts';
import { routeNames } from './faults.ts';
import { avatar, page } from './page.ts';
import type { Account, GoogleState } from './state.ts';
import { icon, styleSheet } from './style.ts';

/** The front page, which explains the simulator, and the assets of all pages. */
export function homePages(state: GoogleState, baseUrl: () => string): Hono<SimulatorEnv> {
  const app = new Hono<SimulatorEnv>();
  app.get('/_simulator/style.css', (c) =>
    c.body(styleSheet, 200, { 'content-type': 'text/css; charset=utf-8' }),
  );
  app.get('/_simulator/icon.svg', (c) => c.body(icon, 200, { 'content-type': 'image/svg+xml' }));
  app.get('/', (c) => {
    const account = ({ name, email }: Account) => html`
        <li><a class="account" href="/calendar?user=${encodeURIComponent(email)}">
          ${avatar(name)}<span><strong>${name}</strong><br>${email}</span></a></li>`;
    const endpoint = ([name, path]: [string, string]) =>
      html`<tr><td>${name}</td><td><code>${baseUrl()}${path}</code></td></tr>`;
    return c.html(
      page(
        'Start',
        html`<main class="card broad">
      <h1>A stand-in for Google</h1>
      <p>This server behaves like the parts of Google that the service talks to: signing in, consent, tokens
        and Calendar. Everything in it is fictional and stays on this machine.</p>
      <h2>Calendars</h2>
      <ul class="accounts">${[...state.accounts.values()].slice(0, 20).map(account)}</ul>
      <h2>Endpoints</h2>
      <div class="scroll"><table><tbody>${endpoints.map(endpoint)}</tbody></table></div>
      <h2>Control</h2>
      <p>Faults, switches and observations: <a href="/_simulator/switches">switches</a>,
        <a href="/_simulator/requests">requests so far</a>, <a href="/_simulator/grants">grants</a>.
        For example, let the next insert fail:</p>
      <pre tabindex="0">curl -d '{"on":"events.insert","how":{"status":429,"reason":"rateLimitExceeded"}}' \\
  ${baseUrl()}/_simulator/faults</pre>
      <p>Faults can be planned on ${routeNames.join(', ')}.</p>
      <p>What people do by hand, as JSON to these paths below <code>/_simulator</code>:</p>
      <div class="scroll"><table><tbody>${controls.map(
        ([what, example]) => html`<tr><td>${what}</td><td><code>${example}</code></td></tr>`,
      )}</tbody></table></div>
    </main>`,
      ),
    );
  });
  return app;
}

const controls: [string, string][] = [
  ['Move an event to another calendar', 'POST /move-event {"email":…,"eventId":…,"to":…,"from":"primary"}'],
  ['Delete an event', 'DELETE /events?email=…&eventId=…&calendarId=…'],
  ['Delete a calendar', 'DELETE /calendars?email=…&calendarId=…'],
  ['Change a calendar', 'PATCH /calendars {"email":…,"calendarId":…,"timeZone":…,"summary":…}'],
  [
    'Share a calendar, or stop it',
    'POST /share {"email":…,"calendarId":…,"with":…,"role":"reader|writer|none"}',
  ],
  ['Switch Google Calendar off for an account', 'POST /switch-calendar {"email":…,"to":"off|on"}'],
  ['Purge deleted events', 'POST /purge-deleted {"email":…}'],
  ['Revoke a grant', 'POST /revoke-grant {"email":…}'],
  ['Expire access tokens', 'POST /expire-access-tokens {"email":…}'],
  ['Act as an account', 'POST /grants {"clientId":…,"email":…,"scopes":[…]}'],
];

const endpoints: [string, string][] = [
  ['Authorization', '/o/oauth2/v2/auth'],
  ['Token', '/token'],
  ['Revoke', '/revoke'],
  ['Keys', '/oauth2/v3/certs'],
  ['Discovery', '/.well-known/openid-configuration'],
  ['Calendar API', '/calendar/v3'],
];
