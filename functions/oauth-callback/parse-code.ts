import { operatorOAuthErrors } from '../../shared/google/token-endpoint.ts';
import { AppError } from '../../shared/lib/app-error.ts';

/**
 * The authorization code of Google's answer. Errors: `access_denied`, `administrator_denied`, `browser_unsupported`,
 * `google_client_misconfigured`, and `authorization_failed` for all others.
 */
export function parseCode(query: URLSearchParams): string {
  const error = query.get('error');
  const code = query.get('code');
  if (error === null && code) return code;
  throw consentError((error ?? 'no code').slice(0, 60));
}

/** The error of a failed consent, at the consent page or at the redemption of the code. */
export function consentError(error: string): AppError {
  const details = { error };
  if (error === 'access_denied') {
    return new AppError(
      'access_denied',
      'You did not allow access, so nothing was connected. To connect after all, go back to LeadsCalendar and start again.',
      { status: 403 },
    );
  }
  if (error === 'admin_policy_enforced') {
    return new AppError(
      'administrator_denied',
      'The administrator of this Google account does not allow access to its calendar. Ask them to allow it, or connect another Google account.',
      { status: 403, details },
    );
  }
  if (error === 'disallowed_useragent') {
    return new AppError(
      'browser_unsupported',
      'Google does not allow signing in inside this app. Open LeadsCalendar in a browser and start again.',
      { status: 403, details },
    );
  }
  if (operatorOAuthErrors.has(error)) {
    return new AppError(
      'google_client_misconfigured',
      `Google refuses the authorization request of this service (${error}). Check client, redirect URI, scopes and audience in Google's console.`,
      { status: 503, details },
    );
  }
  return new AppError(
    'authorization_failed',
    'Google ended the connection with an error. Please go back to LeadsCalendar and try again.',
    { status: 400, details },
  );
}
