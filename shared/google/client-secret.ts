import { isJsonObject } from '../lib/schemas.ts';
import { parseSecretObject, unusableSecret } from '../lib/secret-json.ts';

/** The OAuth client of this service at Google. */
export type GoogleClient = { clientId: string; clientSecret: string };

const name = 'google-oauth-client';

/**
 * Parses the JSON file that Google's console offers for download.
 * Errors: `not_configured`, which names the wrong entry and never quotes it.
 */
export function parseGoogleClient(secret: string): GoogleClient {
  const { web, installed } = parseSecretObject(name, secret);
  if (!isJsonObject(web)) {
    throw unusableSecret(
      name,
      installed === undefined
        ? '"web" must be an object: store the client file of a "Web application" as Google\'s console offers it for download.'
        : 'It is the file of an installed application: store that of a "Web application".',
    );
  }
  return { clientId: readText(web, 'client_id'), clientSecret: readText(web, 'client_secret') };
}

function readText(web: Record<string, unknown>, field: string): string {
  const value = web[field];
  const text = typeof value === 'string' ? value.trim() : '';
  if (text) return text;
  throw unusableSecret(name, `"web.${field}" must be a text that is not empty.`);
}
