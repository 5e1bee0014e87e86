import { env } from '../lib/names.ts';

/** Google's endpoints. All URLs without a trailing slash. */
export type GoogleEndpoints = {
  authorization: string;
  token: string;
  revoke: string;
  /** PEM certificates by key id, the form that google-auth-library reads. */
  certificates: string;
  calendar: string;
};

const realGoogle: GoogleEndpoints = {
  authorization: 'https://accounts.google.com/o/oauth2/v2/auth',
  token: 'https://oauth2.googleapis.com/token',
  revoke: 'https://oauth2.googleapis.com/revoke',
  certificates: 'https://www.googleapis.com/oauth2/v1/certs',
  calendar: 'https://www.googleapis.com/calendar/v3',
};

/** Google's endpoints, or the same paths below the base URL of a simulator. */
export function googleEndpoints(baseUrl: string | undefined = process.env[env.googleUrl]): GoogleEndpoints {
  if (!baseUrl) return realGoogle;
  const base = baseUrl.replace(/\/$/, '');
  return {
    authorization: `${base}/o/oauth2/v2/auth`,
    token: `${base}/token`,
    revoke: `${base}/revoke`,
    certificates: `${base}/oauth2/v1/certs`,
    calendar: `${base}/calendar/v3`,
  };
}
