/** Secrets Manager on this machine: secrets as the template declares them, values in a file. */
import { randomInt, randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import * as v from 'valibot';
import { writeFileAtomically } from '../state-files.ts';
import { awsError, type Operations, operation } from './aws-json.ts';
import { type ResolvedResource, secretName } from './resources.ts';

type StoredSecret = { value: string; versionId: string; createdAt: number };

export type LocalSecrets = {
  operations: Operations;
  /** Registers the template's secrets and generates the requested values. */
  create(secrets: ResolvedResource[]): void;
  /** The name of a secret by name or ARN. */
  nameOf(id: string): string;
  /** The current value; undefined while the secret has none. */
  get(id: string): string | undefined;
  put(id: string, value: string): void;
};

const SecretId = v.pipe(v.string(), v.minLength(1), v.maxLength(2048));
const GetSecretValue = v.object({
  SecretId,
  VersionId: v.optional(v.string()),
  VersionStage: v.optional(v.string()),
});
const PutSecretValue = v.object({ SecretId, SecretString: v.pipe(v.string(), v.minLength(1)) });

/**
 * @param file with the values (mode 0600); in memory when absent
 */
export function createSecrets(file?: string): LocalSecrets {
  const stored: Record<string, StoredSecret> =
    file && existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
  const arnByName = new Map<string, string>();

  const nameOf = (id: string): string => {
    for (const [name, arn] of arnByName) if (id === name || id === arn) return name;
    throw awsError('ResourceNotFoundException', "Secrets Manager can't find the specified secret.");
  };
  const put = (id: string, value: string): StoredSecret => {
    const secret = { value, versionId: randomUUID(), createdAt: Math.floor(Date.now() / 1000) };
    stored[nameOf(id)] = secret;
    if (file) writeFileAtomically(file, JSON.stringify(stored, null, 2), 0o600);
    return secret;
  };
  const answer = (name: string, { versionId }: StoredSecret) => ({
    ARN: arnByName.get(name),
    Name: name,
    VersionId: versionId,
    VersionStages: ['AWSCURRENT'],
  });

  return {
    create(secrets) {
      for (const { logicalId, properties, ref } of secrets) {
        const name = secretName(logicalId, properties);
        arnByName.set(name, ref);
        if (stored[name]) continue;
        const generate = properties.GenerateSecretString as GenerateSecretString | undefined;
        const value = generate ? generateSecretString(generate) : properties.SecretString;
        if (typeof value === 'string') put(name, value);
      }
    },
    nameOf,
    get: (id) => stored[nameOf(id)]?.value,
    put: (id, value) => void put(id, value),
    operations: {
      'secretsmanager.GetSecretValue': operation(GetSecretValue, ({ SecretId, VersionStage, VersionId }) => {
        const name = nameOf(SecretId);
        const secret = stored[name];
        if (
          !secret ||
          (VersionId && VersionId !== secret.versionId) ||
          (VersionStage ?? 'AWSCURRENT') !== 'AWSCURRENT'
        ) {
          throw awsError(
            'ResourceNotFoundException',
            `Secrets Manager can't find the specified secret value for staging label: ${VersionStage ?? 'AWSCURRENT'}`,
          );
        }
        return { ...answer(name, secret), SecretString: secret.value, CreatedDate: secret.createdAt };
      }),
      'secretsmanager.PutSecretValue': operation(PutSecretValue, ({ SecretId, SecretString }) =>
        answer(nameOf(SecretId), put(SecretId, SecretString)),
      ),
    },
  };
}

type GenerateSecretString = {
  SecretStringTemplate?: string;
  GenerateStringKey?: string;
  PasswordLength?: number;
  ExcludeCharacters?: string;
  ExcludeLowercase?: boolean;
  ExcludeNumbers?: boolean;
  ExcludePunctuation?: boolean;
  ExcludeUppercase?: boolean;
  IncludeSpace?: boolean;
};

/** Generates a secret as `AWS::SecretsManager::Secret GenerateSecretString` describes it. */
export function generateSecretString(options: GenerateSecretString): string {
  const characters = [
    options.ExcludeLowercase ? '' : 'abcdefghijklmnopqrstuvwxyz',
    options.ExcludeUppercase ? '' : 'ABCDEFGHIJKLMNOPQRSTUVWXYZ',
    options.ExcludeNumbers ? '' : '0123456789',
    options.ExcludePunctuation ? '' : '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~',
    options.IncludeSpace ? ' ' : '',
  ]
    .join('')
    .split('')
    .filter((character) => !options.ExcludeCharacters?.includes(character));
  const secret = Array.from(
    { length: options.PasswordLength ?? 32 },
    () => characters[randomInt(characters.length)],
  ).join('');
  if (!options.SecretStringTemplate || !options.GenerateStringKey) return secret;
  return JSON.stringify({ ...JSON.parse(options.SecretStringTemplate), [options.GenerateStringKey]: secret });
}
