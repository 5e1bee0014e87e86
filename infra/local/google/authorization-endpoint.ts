import { Hono } from 'hono';
import { accountPage, consentPage, oauthErrorPage } from './consent-pages.ts';
import type { Faults, SimulatorEnv } from './faults.ts';
import { describeScope, expandScope, isSignInScope } from './scopes.ts';
import { type Account, findAccount, type GoogleState, grantKey, randomText } from './state.ts';

const codeLifetimeMs = 10 * 60_000;

/** A checked authorization request. `query` is the original one, carried through the forms. */
export type AuthorizationRequest = {
  query: string;
  clientId: string;
  redirectUri: string;
  scopes: string[];
  state: string | undefined;
  nonce: string | undefined;
  codeChallenge: string | undefined;
  codeChallengeMethod: string | undefined;
  offline: boolean;
  includeGrantedScopes: boolean;
  prompts: string[];
  loginHint: string | undefined;
};

/** An error that Google shows on its own page instead of redirecting. */
export type RequestProblem = { error: string; description: string };

/**
 * The consent page: choose an account, then allow or cancel. Nothing is stored until a decision is made;
 * the request travels through the forms and is checked again at each step.
 */
export function authorizationEndpoint(state: GoogleState, faults: Faults): Hono<SimulatorEnv> {
  const app = new Hono<SimulatorEnv>();

  app.get('/o/oauth2/v2/auth', faults.around('auth'), (c) => {
    const request = readRequest(state, new URL(c.req.url).search.slice(1));
    if ('error' in request) return c.html(oauthErrorPage(request), 400);
    const hinted = findAccount(state, request.loginHint);
    if (request.prompts.includes('none')) {
      return hinted && isGranted(state, request, hinted)
        ? c.redirect(allow(state, request, hinted, requestedScopes(state, request)))
        : c.redirect(sendBack(request, { error: 'interaction_required' }));
    }
    // login_hint only preselects: the consent page offers to switch to another account.
    if (!hinted || request.prompts.includes('select_account')) {
      return c.html(accountPage(request, [...state.accounts.values()]));
    }
    return c.redirect(
      `/o/oauth2/v2/consent?${new URLSearchParams({ request: request.query, account: hinted.email })}`,
    );
  });

  app.get('/o/oauth2/v2/accounts', (c) => {
    const request = readRequest(state, c.req.query('request') ?? '');
    if ('error' in request) return c.html(oauthErrorPage(request), 400);
    return c.html(accountPage(request, [...state.accounts.values()]));
  });

  app.get('/o/oauth2/v2/consent', (c) => {
    const request = readRequest(state, c.req.query('request') ?? '');
    if ('error' in request) return c.html(oauthErrorPage(request), 400);
    const account = findAccount(state, c.req.query('account'));
    if (!account) return c.html(accountPage(request, [...state.accounts.values()]));
    // Without prompt=consent, earlier grants are not asked for again.
    if (!request.prompts.includes('consent') && isGranted(state, request, account)) {
      return c.redirect(allow(state, request, account, requestedScopes(state, request)));
    }
    return c.html(consentPage(request, account, choosableScopes(request)));
  });

  app.post('/o/oauth2/v2/consent', async (c) => {
    const form = new URLSearchParams(await c.req.text());
    const request = readRequest(state, form.get('request') ?? '');
    if ('error' in request) return c.html(oauthErrorPage(request), 400);
    const account = findAccount(state, form.get('account') ?? undefined);
    if (!account) return c.html(accountPage(request, [...state.accounts.values()]));
    if (form.get('decision') !== 'allow')
      return c.redirect(sendBack(request, { error: 'access_denied' }), 303);
    const { boxes } = choosableScopes(request);
    const unticked = boxes.filter((scope) => !form.getAll('scope').includes(scope));
    const scopes = requestedScopes(state, request).filter((scope) => !unticked.includes(scope));
    return c.redirect(allow(state, request, account, scopes), 303);
  });

  return app;
}

/** Which scopes get a box: all but the sign-in ones, unless there is only a single one to decide on. */
function choosableScopes({ scopes }: AuthorizationRequest): { boxes: string[]; fixed: string[] } {
  const others = scopes.filter((scope) => !isSignInScope(scope));
  return others.length > 1 ? { boxes: others, fixed: [] } : { boxes: [], fixed: others };
}

function readRequest(state: GoogleState, query: string): AuthorizationRequest | RequestProblem {
  const given = new URLSearchParams(query);
  const value = (name: string) => given.get(name) ?? undefined;
  const listed = (name: string) => (value(name) ?? '').split(' ').filter(Boolean);

  const scopes = [...new Set(listed('scope'))];
  const accessType = value('access_type') ?? 'online';
  const prompts = listed('prompt');
  const codeChallenge = value('code_challenge');
  const codeChallengeMethod = value('code_challenge_method') ?? (codeChallenge ? 'plain' : undefined);
  const problem =
    problemOfClient(state, value) ??
    problemOfScopes(scopes) ??
    problemOfOptions(accessType, prompts) ??
    problemOfChallenge(codeChallenge, codeChallengeMethod);
  if (problem) return problem;

  return {
    query,
    clientId: value('client_id') ?? '',
    redirectUri: value('redirect_uri') ?? '',
    scopes,
    state: value('state'),
    nonce: value('nonce'),
    codeChallenge,
    codeChallengeMethod,
    offline: accessType === 'offline',
    includeGrantedScopes: value('include_granted_scopes') === 'true',
    prompts,
    loginHint: value('login_hint'),
  };
}

const invalid = (description: string): RequestProblem => ({ error: 'invalid_request', description });

function problemOfClient(
  state: GoogleState,
  value: (name: string) => string | undefined,
): RequestProblem | undefined {
  if (!value('client_id')) return invalid('Missing required parameter: client_id');
  const client = state.clients.find(({ clientId }) => clientId === value('client_id'));
  if (!client) return { error: 'invalid_client', description: 'The OAuth client was not found.' };
  const redirectUri = value('redirect_uri');
  if (!redirectUri) return invalid('Missing required parameter: redirect_uri');
  if (!client.redirectUris.includes(redirectUri)) {
    const description = `The redirect URI in the request, ${redirectUri}, is not one of those registered for the client.`;
    return { error: 'redirect_uri_mismatch', description };
  }
  if (value('response_type') === 'code') return undefined;
  return {
    error: 'unsupported_response_type',
    description: 'This simulator answers response_type=code only.',
  };
}

function problemOfScopes(scopes: string[]): RequestProblem | undefined {
  if (scopes.length === 0) return invalid('Missing required parameter: scope');
  const unknown = scopes.filter((scope) => !describeScope(scope));
  if (unknown.length === 0) return undefined;
  return { error: 'invalid_scope', description: `Some requested scopes were invalid: ${unknown.join(', ')}` };
}

function problemOfOptions(accessType: string, prompts: string[]): RequestProblem | undefined {
  if (!['online', 'offline'].includes(accessType))
    return invalid(`Invalid parameter value for access_type: ${accessType}`);
  const oddPrompt = prompts.find((prompt) => !['none', 'consent', 'select_account'].includes(prompt));
  if (oddPrompt) return invalid(`Invalid parameter value for prompt: ${oddPrompt}`);
  if (prompts.includes('none') && prompts.length > 1)
    return invalid('prompt=none cannot be combined with others.');
  return undefined;
}

function problemOfChallenge(challenge?: string, method?: string): RequestProblem | undefined {
  if (!method) return undefined;
  if (!['plain', 'S256'].includes(method))
    return invalid(`Invalid parameter value for code_challenge_method: ${method}`);
  return challenge ? undefined : invalid('code_challenge_method needs a code_challenge.');
}

function isGranted(state: GoogleState, request: AuthorizationRequest, { sub }: Account): boolean {
  const granted = state.grants.get(grantKey(request.clientId, sub))?.scopes;
  return granted !== undefined && requestedScopes(state, request).every((scope) => granted.includes(scope));
}

function requestedScopes(state: GoogleState, { scopes }: AuthorizationRequest): string[] {
  return state.switches.expandSignInScopes ? scopes.map(expandScope) : scopes;
}

/** Records the code and returns the redirect target. */
function allow(
  state: GoogleState,
  request: AuthorizationRequest,
  account: Account,
  scopes: string[],
): string {
  const earlier = state.grants.get(grantKey(request.clientId, account.sub));
  const granted = [...new Set([...scopes, ...(request.includeGrantedScopes ? (earlier?.scopes ?? []) : [])])];
  // Google's codes contain a slash, which clients have to encode in the token request.
  const code = `4/0${randomText(state, 60)}`;
  const { clientId, redirectUri, nonce, codeChallenge, codeChallengeMethod } = request;
  state.codes.set(code, {
    code,
    clientId,
    redirectUri,
    sub: account.sub,
    scopes: granted,
    refreshToken: request.offline && (request.prompts.includes('consent') || !earlier?.refreshTokens.length),
    expiresAt: state.now() + codeLifetimeMs,
    used: false,
    ...(nonce === undefined ? {} : { nonce }),
    ...(codeChallenge === undefined ? {} : { codeChallenge }),
    ...(codeChallengeMethod === undefined ? {} : { codeChallengeMethod }),
  });
  const prompt = request.prompts.includes('consent') ? 'consent' : 'none';
  // Which other parameters Google adds is UNVERIFIED: clients must ignore unknown ones.
  const extras = { iss: 'https://accounts.google.com', authuser: '0', prompt };
  return sendBack(request, { code, scope: granted.join(' '), ...extras });
}

function sendBack(request: AuthorizationRequest, answer: Record<string, string>): string {
  const url = new URL(request.redirectUri);
  if (request.state !== undefined) url.searchParams.set('state', request.state);
  for (const [name, value] of Object.entries(answer)) url.searchParams.set(name, value);
  return url.href;
}
