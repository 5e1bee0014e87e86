import { auth, calendar } from '@googleapis/calendar';
import { calendarScopes } from '../../shared/google/token-endpoint.ts';
import { ada, type World } from './world.ts';

/** Google's own client, as the owner of Ada's calendars. */
export function ownersCalendar({ google }: World) {
  const scopes = [calendarScopes.owned];
  const { accessToken } = google.control.grant({ clientId: 'test-client', email: ada, scopes });
  const oauth = new auth.OAuth2();
  oauth.setCredentials({ access_token: accessToken });
  return calendar({ version: 'v3', auth: oauth, rootUrl: `${google.url}/` });
}
