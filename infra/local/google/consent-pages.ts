import { html } from 'hono/html';
import type { AuthorizationRequest, RequestProblem } from './authorization-endpoint.ts';
import { avatar, type Html, page } from './page.ts';
import { describeScope } from './scopes.ts';
import type { Account } from './state.ts';

export function accountPage(request: AuthorizationRequest, accounts: Account[]): Html {
  const choice = ({ name, email }: Account) => html`
        <li><button class="account" name="account" value="${email}">
          ${avatar(name)}<span><strong>${name}</strong><br>${email}</span>
        </button></li>`;
  return page(
    'Choose an account',
    html`<main class="card">
      <h1>Choose an account</h1>
      <p>to continue to <strong>${appName(request)}</strong></p>
      <form method="get" action="/o/oauth2/v2/consent" data-step="account">
        <input type="hidden" name="request" value="${request.query}">
        <ul class="accounts">${accounts.map(choice)}</ul>
      </form>
    </main>`,
  );
}

export function consentPage(
  request: AuthorizationRequest,
  account: Account,
  choosable: { boxes: string[]; fixed: string[] },
): Html {
  const { boxes, fixed } = choosable;
  const box = (scope: string) => html`
          <li><label><input type="checkbox" name="scope" value="${scope}"><span>${describeScope(scope)}<br>
            <code>${scope}</code></span></label></li>`;
  const line = (scope: string) => html`
          <li><span>${describeScope(scope)}<br><code>${scope}</code></span></li>`;
  return page(
    'Allow access',
    html`<main class="card">
      <h1>${appName(request)} wants access to your Google Account</h1>
      <p class="chosen">${avatar(account.name)}<span>${account.email}</span>
        <a href="/o/oauth2/v2/accounts?${new URLSearchParams({ request: request.query }).toString()}">Use another account</a></p>
      <form method="post" action="/o/oauth2/v2/consent" data-step="consent">
        <input type="hidden" name="request" value="${request.query}">
        <input type="hidden" name="account" value="${account.email}">
        ${identityShared(request)}
        ${
          boxes.length > 0
            ? html`<fieldset>
          <legend>Select what ${appName(request)} can access</legend>
          <ul class="scopes">${boxes.map(box)}</ul>
        </fieldset>`
            : ''
        }
        ${
          fixed.length > 0
            ? html`<h2>This will allow ${appName(request)} to:</h2>
        <ul class="scopes">${fixed.map(line)}</ul>`
            : ''
        }
        <p class="buttons">
          <button name="decision" value="deny">Cancel</button>
          <button class="primary" name="decision" value="allow">Allow</button>
        </p>
      </form>
    </main>`,
  );
}

/** Sign-in scopes have no box: they are always shared. */
function identityShared(request: AuthorizationRequest): Html | string {
  const facts = [
    ...(request.scopes.some((scope) => /\bprofile$/.test(scope)) ? ['name', 'profile picture'] : []),
    ...(request.scopes.some((scope) => /\bemail$/.test(scope)) ? ['email address'] : []),
  ];
  if (facts.length === 0) return '';
  return html`<p>Your ${facts.join(', ')} will be shared with <strong>${appName(request)}</strong>.</p>`;
}

/** The error page that Google shows instead of redirecting when the request itself is wrong. */
export function oauthErrorPage(problem: RequestProblem): Html {
  return page(
    'Access blocked',
    html`<main class="card">
      <h1>Access blocked: this app’s request is invalid</h1>
      <p>You cannot sign in because this app sent an invalid request. If you are its developer:</p>
      <p>${problem.description}</p>
      <p><code>Error 400: ${problem.error}</code></p>
    </main>`,
  );
}

/** The simulator knows clients by id only, so the redirect host names the app. */
function appName({ redirectUri }: AuthorizationRequest): string {
  return new URL(redirectUri).host;
}
