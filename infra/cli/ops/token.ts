/** `ops token`: tokens, links and keys as LeadsCalendar's backend has them. */
import { keyText, parseKeys } from '../../../shared/crypto/keys.ts';
import { bearerToken, connectLink } from '../links.ts';
import { keyOutputs, secretText, type Target } from './target.ts';

const variables = { 'api-signing': 'API_SIGNING_KEY', 'link-signing': 'LINK_SIGNING_KEY' } as const;
type SigningPurpose = keyof typeof variables;

const keysText = (target: Target, purpose: SigningPurpose): Promise<string> =>
  secretText(target, keyOutputs[purpose]);

/** The two keys that the backend signs with, as variables of its environment. */
export async function signingKeys(target: Target, now: number): Promise<Record<string, string>> {
  const entries = (Object.keys(variables) as SigningPurpose[]).map(async (purpose) => {
    const keys = parseKeys(purpose, await keysText(target, purpose));
    return [variables[purpose], keyText(keys, keys.current(now))];
  });
  return Object.fromEntries(await Promise.all(entries));
}

/** A bearer token for a user, or a link that connects the user's calendar: valid for ten minutes. */
export async function tokenFor(target: Target, userId: string, { link }: { link: boolean }): Promise<string> {
  if (!link) return bearerToken(await keysText(target, 'api-signing'), userId, Date.now());
  const url = target.output('ApiUrl').replace(/\/$/, '');
  return connectLink(await keysText(target, 'link-signing'), url, userId, Date.now());
}
