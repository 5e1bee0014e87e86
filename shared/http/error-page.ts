import type { AppError, ErrorCode } from '../lib/app-error.ts';
import { type HttpRequest, type HttpResponse, problem, wantsHtml } from './http.ts';
import { page } from './page.ts';

type Explanation = {
  title: string;
  /** Paragraphs that replace a message for developers or operators. */
  text?: string[];
};

const googleFailed: Explanation = {
  title: 'Google could not finish this',
  text: ['Something went wrong on Google’s side. Nothing was connected.', 'Please try again.'],
};
const notAvailable: Explanation = {
  title: 'Not available at present',
  text: [
    'You did nothing wrong: this service is not set up correctly, and its operator has been told. Nothing was connected.',
    'Please try again later.',
  ],
};

const explanations: Partial<Record<ErrorCode, Explanation>> = {
  token_missing: {
    title: 'This link is incomplete',
    text: ['Part of its address is missing.', 'Please open it from LeadsCalendar again.'],
  },
  token_invalid: {
    title: 'This link does not work',
    text: [
      'It was changed on its way here, or made for something else.',
      'Please start again from LeadsCalendar.',
    ],
  },
  token_expired: {
    title: 'This link has expired',
    text: [
      'To keep your calendar safe, a link works for ten minutes only.',
      'Please start again from LeadsCalendar: it gives you a new one.',
    ],
  },
  return_to_not_allowed: {
    title: 'This link does not work',
    text: [
      'It leads back to an address that this service does not know.',
      'Please start again from LeadsCalendar. If you see this again, tell its support the code below.',
    ],
  },
  state_expired: { title: 'That took too long' },
  state_used: { title: 'This link was used already' },
  wrong_browser: {
    title: 'Please use the same browser',
    text: [
      'The connection was started in another browser, or this one blocks cookies. Nothing was connected.',
      'Please start again from LeadsCalendar, and stay in one browser to the end.',
    ],
  },
  access_denied: {
    title: 'Your calendar was not connected',
    text: [
      'You did not allow access, so nothing was changed.',
      'If you change your mind, try again here, or later from LeadsCalendar.',
    ],
  },
  administrator_denied: {
    title: 'Your administrator does not allow this',
    text: [
      'The administrator of your Google account does not allow LeadsCalendar to use its calendar. Nothing was connected.',
      'Ask your administrator to allow it. Or start again from LeadsCalendar, and choose another Google account.',
    ],
  },
  browser_unsupported: {
    title: 'Please use a browser',
    text: [
      'Google does not allow signing in inside another app. Nothing was connected.',
      'Open LeadsCalendar in a browser such as Chrome, Edge, Firefox or Safari, and start again there.',
    ],
  },
  calendar_permission_missing: {
    title: 'One box was not ticked',
    text: [
      'To add your appointments, LeadsCalendar needs the box for the events of your calendars. Nothing was connected.',
      'Please try again and tick that box on Google’s page.',
    ],
  },
  refresh_token_missing: {
    title: 'Google wants to ask you again',
    text: [
      'Google did not allow lasting access, without which appointments could not be added later.',
      'Remove LeadsCalendar at myaccount.google.com/permissions, then try again.',
    ],
  },
  google_unreachable: {
    title: 'Google does not answer',
    text: ['Google could not be reached. Nothing was connected.', 'Please try again in a few minutes.'],
  },
  google_oauth_error: googleFailed,
  google_unexpected_status: googleFailed,
  google_unexpected_body: googleFailed,
  google_client_misconfigured: notAvailable,
  not_configured: notAvailable,
  internal_error: { title: 'Something went wrong here' },
};

/** Errors for which the page offers another attempt. */
const retryableCodes: ErrorCode[] = [
  'access_denied',
  'authorization_failed',
  'calendar_permission_missing',
  'refresh_token_missing',
  'id_token_invalid',
  'google_unreachable',
  'google_oauth_error',
  'google_unexpected_status',
  'google_unexpected_body',
  'concurrent_update',
];

/**
 * An error of a browser endpoint: a page for people, problem+json for programs. A retry at the callback uses the same
 * state, which is bound to the browser and keeps its expiry.
 */
export function errorPage(error: AppError, request: HttpRequest): HttpResponse {
  if (!wantsHtml(request)) return problem(error);
  const { status, code, message } = error;
  const { title, text = [message] } = explanations[code] ?? { title: 'Your calendar was not connected' };
  const state = new URLSearchParams(request.rawQueryString).get('state');
  const retry = state !== null && retryableCodes.includes(code);
  // Relative to the callback, so that it works under any base URL.
  const href = `connect?${new URLSearchParams({ retry: state ?? '' })}`;
  return page({
    status,
    title,
    text,
    isSuccess: false,
    code,
    ...(retry ? { action: { label: 'Try again', href } } : {}),
  });
}
