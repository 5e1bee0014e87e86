import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readAssembly, type Template } from '../../infra/local/aws/template.ts';

/**
 * Copies a cloud assembly and shortens the visibility timeout of its queue to these seconds. The function's
 * timeout shrinks with it, since Lambda refuses a longer one. Few runs of it are concurrent, since each life of
 * the service starts all of them again on one machine.
 * @returns the folder of the copy
 */
export function chaosAssembly(source: string, directory: string, visibility: number): string {
  cpSync(source, directory, { recursive: true });
  const { template } = readAssembly(directory);
  const resources = Object.values(template.Resources);
  const mappings = resources.filter(({ Type }) => Type === 'AWS::Lambda::EventSourceMapping');
  for (const { Properties = {} } of mappings) {
    const worker = template.Resources[(Properties.FunctionName as { Ref: string }).Ref]?.Properties;
    if (worker) worker.Timeout = Math.min(Number(worker.Timeout), visibility);
    Properties.ScalingConfig = { MaximumConcurrency: 4 };
  }
  for (const { Type, Properties } of resources) {
    if (Type === 'AWS::SQS::Queue' && Properties?.RedrivePolicy) Properties.VisibilityTimeout = visibility;
  }
  writeFileSync(templateFile(directory), JSON.stringify(template satisfies Template));
  return directory;
}

function templateFile(directory: string): string {
  const { artifacts } = JSON.parse(readFileSync(join(directory, 'manifest.json'), 'utf8')) as {
    artifacts: Record<string, { type: string; properties?: { templateFile: string } }>;
  };
  const stack = Object.values(artifacts).find(({ type }) => type === 'aws:cloudformation:stack');
  return join(directory, stack?.properties?.templateFile as string);
}
