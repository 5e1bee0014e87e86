/** Addresses and tokens that LeadsCalendar's backend would make. */
import { audiences, routes } from '../../shared/names.ts';
import { parseTokenKeys } from '../../shared/token-keys.ts';
import { signUserToken } from '../../shared/user-token.ts';

/**
 * A link that connects a user's calendar. It is valid for ten minutes.
 * @param tokenKeys value of the secret `token-keys`
 * @param now epoch milliseconds
 */
export async function connectLink(
  tokenKeys: string,
  apiUrl: string,
  userId: string,
  now: number,
): Promise<string> {
  const token = await signUserToken(parseTokenKeys(tokenKeys), {
    userId,
    audience: audiences.connect,
    now: Math.floor(now / 1000),
  });
  return `${apiUrl}${routes.connect}?token=${token}`;
}

/** A bearer token with which a backend calls the API in the name of a user. It is valid for ten minutes. */
export function bearerToken(tokenKeys: string, userId: string, now: number): Promise<string> {
  return signUserToken(parseTokenKeys(tokenKeys), {
    userId,
    audience: audiences.api,
    now: Math.floor(now / 1000),
  });
}
