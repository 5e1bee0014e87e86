/** The options of a deployed stack, and which changes of them do harm. */
import {
  type CloudFormationClient,
  CloudFormationServiceException,
  GetTemplateSummaryCommand,
} from '@aws-sdk/client-cloudformation';
import type { StackConfig } from '../config.ts';
import { optionsMetadata } from '../stack.ts';

/** The options that a stack was deployed with last; undefined where there is no such stack. */
export async function deployedOptions(
  cloudFormation: CloudFormationClient,
  stackName: string,
): Promise<Partial<StackConfig> | undefined> {
  try {
    const { Metadata } = await cloudFormation.send(new GetTemplateSummaryCommand({ StackName: stackName }));
    const metadata = JSON.parse(Metadata ?? '{}') as Record<string, Partial<StackConfig>>;
    return metadata[optionsMetadata] ?? {};
  } catch (error) {
    // There is no code of its own for a stack that does not exist.
    const isMissing = error instanceof CloudFormationServiceException && error.name === 'ValidationError';
    if (isMissing && /does not exist/.test(error.message)) return undefined;
    throw error;
  }
}

type Harm = { option: keyof StackConfig; says: string };

/** The changes that lose data, or that others rely on. */
export function harmfulChanges(before: Partial<StackConfig>, after: StackConfig): Harm[] {
  const harm: Harm[] = [];
  const { indexShards = 0, publicUrl, domainName, eventsUrl, stripeMode, stripeEventSource } = before;
  if (after.indexShards < indexShards) {
    harm.push({
      option: 'indexShards',
      says: `it was ${indexShards}; with ${after.indexShards}, what is due in the other shards is never found again.`,
    });
  }
  const address = publicUrl ?? domainName;
  if (address !== undefined && (after.publicUrl ?? after.domainName) === undefined) {
    harm.push({
      option: publicUrl === undefined ? 'domainName' : 'publicUrl',
      says: `without it, ${address} answers no more: Google refuses the new redirect URI, and Stripe's webhooks and open links fail.`,
    });
  }
  if (eventsUrl !== undefined && after.eventsUrl === undefined) {
    harm.push({
      option: 'eventsUrl',
      says: 'without it, the backend gets no events, and the key that it knows and events that were not delivered are deleted.',
    });
  }
  if (stripeEventSource !== undefined && after.stripeEventSource !== stripeEventSource) {
    harm.push({
      option: 'stripeEventSource',
      says: "without its bus, Stripe's event destination ends, and its events that wait in the queue are deleted.",
    });
  }
  const hasLost = stripeMode !== undefined && stripeMode !== after.stripeMode && after.stripeMode !== 'both';
  if (hasLost) {
    harm.push({
      option: 'stripeMode',
      says: `it was ${stripeMode}; refunds of payments that the tables hold would be ignored as of another mode.`,
    });
  }
  return harm;
}
