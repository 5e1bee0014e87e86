/**
 * Acts as a user in the browser on the simulated Google's consent pages, with plain HTTP.
 *
 * Chooses the account (the hinted or first one by default), ticks every box except those named in `untick` (full
 * scopes or their endings, such as `calendar.events`), and allows; `deny` cancels instead. Returns the URL of
 * Google's redirect to the app, which is not followed.
 */
export async function walkConsent(
  authorizationUrl: string,
  options: { account?: string; deny?: boolean; untick?: string[] } = {},
): Promise<string> {
  const google = new URL(authorizationUrl).origin;
  let request = new Request(authorizationUrl, { redirect: 'manual' });

  // Account, consent, and redirects between them: more steps than this are a loop.
  for (let step = 0; step < 8; step += 1) {
    const response = await fetch(request);
    const location = response.headers.get('location');
    const text = await response.text();
    if (location) {
      const next = new URL(location, request.url);
      if (next.origin !== google) return next.href;
      request = new Request(next, { redirect: 'manual' });
    } else if (response.ok) {
      request = fillForm(new URL(request.url), text, options);
    } else {
      throw new Error(
        `The simulated Google refuses the authorization request (${response.status}): ${plainText(text)}`,
      );
    }
  }
  throw new Error(`The consent pages at ${google} never led back to the app.`);
}

function fillForm(
  page: URL,
  text: string,
  options: { account?: string; deny?: boolean; untick?: string[] },
): Request {
  const { account, deny = false, untick = [] } = options;
  const form = /<form[^>]*>[\s\S]*?<\/form>/.exec(text)?.[0];
  if (!form) throw new Error(`There is no form on ${page.pathname}: ${plainText(text)}`);
  const tag = attributes(form);
  const inputs = [...form.matchAll(/<(?:input|button)\b[^>]*>/g)].map(([element]) => attributes(element));
  const values = new URLSearchParams();

  const isTicked = (scope: string) => !untick.some((ending) => scope.endsWith(ending));
  for (const { type, name = '', value = '' } of inputs) {
    if (type === 'hidden' || (type === 'checkbox' && isTicked(value))) values.append(name, value);
  }
  if (tag['data-step'] === 'account') {
    values.append('account', chooseAccount(inputs, account));
  } else {
    if (account) values.set('account', account); // Google's page offers to use another account.
    values.append('decision', deny ? 'deny' : 'allow');
  }

  const target = new URL(tag.action ?? '', page);
  if (tag.method === 'post') return new Request(target, { method: 'POST', body: values, redirect: 'manual' });
  target.search = values.toString();
  return new Request(target, { redirect: 'manual' });
}

function chooseAccount(inputs: Record<string, string>[], account: string | undefined): string {
  const offered = inputs.filter(({ name }) => name === 'account').map(({ value = '' }) => value);
  const chosen = account ?? offered[0] ?? '';
  if (offered.includes(chosen)) return chosen;
  throw new Error(`The accounts to choose from are ${offered.join(', ')}, not ${chosen}.`);
}

function attributes(element: string): Record<string, string> {
  const start = /^<\w+([^>]*)>/.exec(element)?.[1] ?? '';
  return Object.fromEntries(
    [...start.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, name, value]) => [name, decodeHtml(value ?? '')]),
  );
}

function decodeHtml(text: string): string {
  const entities: Record<string, string> = {
    '&lt;': '<',
    '&gt;': '>',
    '&quot;': '"',
    '&#39;': "'",
    '&amp;': '&',
  };
  return text.replace(/&(?:lt|gt|quot|#39|amp);/g, (entity) => entities[entity] ?? entity);
}

function plainText(text: string): string {
  const main = /<main[\s\S]*<\/main>/.exec(text)?.[0] ?? text;
  return decodeHtml(main.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ')).trim();
}
