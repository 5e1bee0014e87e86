/** Google for the local stack: our simulator, another simulator or the real Google, with an OAuth client. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parseGoogleClient } from '../../shared/google/client-secret.ts';
import { type GoogleSimulator, startGoogleSimulator } from './google/simulator.ts';
import { explainPortInUse } from './ports.ts';

export type GoogleChoice =
  | { kind: 'simulator'; port?: number }
  /** Another simulator. Without a client file it must accept any client. */
  | { kind: 'url'; url: string; clientFile?: string }
  | { kind: 'real'; clientFile: string };

export type ProvidedGoogle = {
  simulator?: GoogleSimulator;
  /** Base URL; undefined for the real Google. */
  url: string | undefined;
  /** Value for the secret `google-oauth-client`. */
  client: string;
};

/**
 * Starts our simulator, or returns the configured alternative.
 * @param previousClient value of the secret from an earlier start
 * @throws Error when a client file cannot be used
 */
export async function provideGoogle(
  choice: GoogleChoice,
  at: { redirectUri: string; previousClient: string | undefined; stateFile: string | undefined },
): Promise<ProvidedGoogle> {
  if (choice.kind === 'real') {
    return { url: undefined, client: readClientFile(choice.clientFile, at.redirectUri) };
  }
  const { clientId, clientSecret } = at.previousClient ? parseGoogleClient(at.previousClient) : newClient();
  const client = JSON.stringify({
    web: { client_id: clientId, client_secret: clientSecret, redirect_uris: [at.redirectUri] },
  });
  if (choice.kind === 'url') {
    return {
      url: choice.url.replace(/\/$/, ''),
      client: choice.clientFile ? readClientFile(choice.clientFile, at.redirectUri) : client,
    };
  }
  const { port = 0 } = choice;
  const simulator = await startGoogleSimulator({
    port,
    clients: [{ clientId, clientSecret, redirectUris: [at.redirectUri] }],
    ...(at.stateFile ? { stateFile: at.stateFile } : {}),
  }).catch((error: unknown) => {
    throw explainPortInUse(error, port);
  });
  return { simulator, url: simulator.url, client };
}

function newClient(): { clientId: string; clientSecret: string } {
  return {
    clientId: `${randomBytes(6).toString('hex')}.apps.googleusercontent.com`,
    clientSecret: `GOCSPX-${randomBytes(21).toString('base64url')}`,
  };
}

/** Reads a client file from Google's console and checks that it fits this stack. */
function readClientFile(path: string, redirectUri: string): string {
  const text = readFileSync(path, 'utf8');
  parseGoogleClient(text);
  const { redirect_uris: allowed = [] } = (JSON.parse(text) as { web: { redirect_uris?: string[] } }).web;
  if (!allowed.includes(redirectUri)) {
    throw new Error(
      `The OAuth client in ${path} does not list the redirect URI ${redirectUri}. Add it to the client's ` +
        '"Authorized redirect URIs" in the Google Cloud console, download the file again and start once more.',
    );
  }
  return text;
}
