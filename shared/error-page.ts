import type { AppError, ErrorCode } from './app-error.ts';
import { type HttpRequest, type HttpResponse, problem, wantsHtml } from './http.ts';
import { page } from './page.ts';

const titles: Partial<Record<ErrorCode, string>> = {
  link_token_missing: 'This link is incomplete',
  link_token_invalid: 'This link does not work',
  link_token_expired: 'This link has expired',
  return_to_not_allowed: 'This link does not work',
  state_expired: 'That took too long',
  state_used: 'This was done already',
  wrong_browser: 'Please use the same browser',
  access_denied: 'Your calendar was not connected',
  calendar_permission_missing: 'One box was not ticked',
  refresh_token_missing: 'Google wants to ask you again',
  google_unreachable: 'Google does not answer',
  not_configured: 'Not available at present',
  google_client_misconfigured: 'Not available at present',
};

/** An error of a browser endpoint: a page for people, problem+json for programs. */
export function errorPage(error: AppError, request: HttpRequest): HttpResponse {
  if (!wantsHtml(request)) return problem(error);
  const { status, code, message } = error;
  return page({
    status,
    title: titles[code] ?? 'Your calendar was not connected',
    text: [message],
    good: false,
    code,
  });
}
