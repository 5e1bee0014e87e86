import { rotate } from '../../infra/cli/keys-rotation.ts';
import { type KeyPurpose, keySecrets } from '../../shared/lib/names.ts';
import { between, type Random } from './scheduler.ts';
import { minute, second, seconds } from './timeouts.ts';
import type { World } from './world.ts';

/** What operators rotate: keys and secrets. */

const signedWith = new WeakMap<World, string>();

/** The secret `webhook-signing`. Both endpoints have the same secret here, and each is verified on its own. */
export const signingSecrets = (...secrets: string[]): string =>
  JSON.stringify({ stripe: secrets, 'stripe-connect': secrets });

/** The secret that the provider signs with now. */
export const signingSecretOf = (world: World): string =>
  signedWith.get(world) ?? 'whsec_canary-signing-secret-1';

export function rotateTokenKeys(world: World, key: string): void {
  for (const purpose of Object.keys(keySecrets) as KeyPurpose[]) {
    const newKey = () => `canary-${purpose}-${key}`.padEnd(64, '.');
    try {
      const { text } = rotate(purpose, world.texts[purpose] as string, seconds(world.now()), newKey);
      world.texts[purpose] = text;
    } catch {
      // One rotation is under way already.
    }
  }
}

/** The new secret is put beside the old one, then the provider signs with it, then the old one goes. */
export async function rotateSigningSecret(world: World, key: string): Promise<void> {
  const old = signingSecretOf(world);
  const fresh = `whsec_canary-signing-secret-${key.replaceAll(' ', '-')}`;
  world.texts['webhook-signing'] = signingSecrets(fresh, old);
  await world.pause(minute);
  signedWith.set(world, fresh);
}

/** An operator creates a new client secret at Google and stores it here up to two minutes later. */
export async function rotateClientSecret(world: World, key: string): Promise<void> {
  const random: Random = world.chance(`client secret ${key}`);
  const [client] = world.google.state.clients;
  if (!client) return;
  client.clientSecret = `canary-client-secret-${key}`;
  await world.pause(between(random, 0, 120) * second);
  const { clientId: client_id, clientSecret: client_secret } = client;
  world.texts['google-oauth-client'] = JSON.stringify({ web: { client_id, client_secret } });
}
