import * as z from 'zod/mini';
import { AppError } from './app-error.ts';

/** The OAuth client of this service at Google. */
export type GoogleClient = { clientId: string; clientSecret: string };

const file = z.object({
  web: z.object({
    client_id: z.string().check(z.minLength(1)),
    client_secret: z.string().check(z.minLength(1)),
  }),
});

/** Parses the JSON file that Google's console offers for download, which is stored as it is. Errors: `not_configured`. */
export function parseGoogleClient(secret: string): GoogleClient {
  try {
    const { web } = file.parse(JSON.parse(secret));
    return { clientId: web.client_id, clientSecret: web.client_secret };
  } catch {
    // The cause is left out: its message could quote the secret.
    throw new AppError(
      'not_configured',
      'The secret google-oauth-client must hold the client file of a "Web application" as Google\'s console offers it for download.',
    );
  }
}
