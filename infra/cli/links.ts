/** Addresses and tokens as LeadsCalendar's backend makes them. */
import { parseKeys } from '../../shared/crypto/keys.ts';
import { signUserToken } from '../../shared/crypto/user-token.ts';
import { audiences, routes } from '../../shared/lib/names.ts';

/**
 * A link that connects a user's calendar. It is valid for ten minutes.
 * @param keys value of the secret `link-signing`
 * @param now epoch milliseconds
 */
export async function connectLink(
  keys: string,
  apiUrl: string,
  userId: string,
  now: number,
): Promise<string> {
  const token = await signUserToken(parseKeys('link-signing', keys), {
    userId,
    audience: audiences.connect,
    now: Math.floor(now / 1000),
  });
  return `${apiUrl}${routes.connect}?token=${token}`;
}

/**
 * A bearer token with which a backend calls the API for a user. It is valid for ten minutes.
 * @param keys value of the secret `api-signing`
 * @param now epoch milliseconds
 */
export function bearerToken(keys: string, userId: string, now: number): Promise<string> {
  return signUserToken(parseKeys('api-signing', keys), {
    userId,
    audience: audiences.api,
    now: Math.floor(now / 1000),
  });
}
