import { bearerToken, connectLink } from '../../infra/cli/links.ts';
import { walkConsent } from '../../infra/local/google/walk-consent.ts';
import type { LocalStack } from '../../infra/local/stack.ts';

/** State of a browser between two pages. */
export type Visit = { location: string; cookie: string };

/** Facts that the service needs from its operator and LeadsCalendar's backend, from the running local stack. */
export function secretsOf({ secrets, secretNames }: LocalStack) {
  const read = (name: string): string => secrets.get(name) as string;
  return {
    /** The keys of LeadsCalendar's backend. */
    linkSigning: read(secretNames.keys['link-signing']),
    apiSigning: read(secretNames.keys['api-signing']),
    stripe: (JSON.parse(read(secretNames.webhookSigning)) as { stripe: string[] }).stripe[0] as string,
  };
}

export const linkFor = (stack: LocalStack, userId: string, now = Date.now()): Promise<string> =>
  connectLink(secretsOf(stack).linkSigning, stack.url, userId, now);

export const apiTokenFor = (stack: LocalStack, userId: string): Promise<string> =>
  bearerToken(secretsOf(stack).apiSigning, userId, Date.now());

/** Follows a link to Google's consent page. */
export async function openLink(link: string, cookie = ''): Promise<Visit> {
  const response = await fetch(link, { redirect: 'manual', headers: { cookie } });
  const location = response.headers.get('location');
  if (!location) throw new Error(`${response.status}: ${await response.text()}`);
  return { location, cookie: response.headers.getSetCookie()[0]?.split(';')[0] ?? '' };
}

/** Opens the callback in the browser of `visit`. */
export function openCallback(callback: string, cookie: string): Promise<Response> {
  return fetch(callback, { redirect: 'manual', headers: { cookie, accept: 'text/html' } });
}

/** The whole connection: link, consent, callback. */
export async function connect(stack: LocalStack, userId: string): Promise<Response> {
  const { location, cookie } = await openLink(await linkFor(stack, userId));
  return openCallback(await walkConsent(location), cookie);
}
