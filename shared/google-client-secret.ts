import * as v from 'valibot';
import { AppError } from './app-error.ts';

/** The OAuth client of this service at Google. */
export type GoogleClient = { clientId: string; clientSecret: string };

const text = v.pipe(v.string(), v.minLength(1));
const file = v.object({ web: v.object({ client_id: text, client_secret: text }) });

/** Parses the JSON file that Google's console offers for download, which is stored as it is. Errors: `not_configured`. */
export function parseGoogleClient(secret: string): GoogleClient {
  try {
    const { web } = v.parse(file, JSON.parse(secret));
    return { clientId: web.client_id, clientSecret: web.client_secret };
  } catch {
    // The cause is left out: its message could quote the secret.
    throw new AppError(
      'not_configured',
      'The secret google-oauth-client must hold the client file of a "Web application" as Google\'s console offers it for download.',
    );
  }
}
