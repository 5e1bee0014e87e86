import { describe, expect, test } from 'vitest';
import { resolver, type Template } from '../../infra/local/aws/template.ts';
import { run, writeAssembly } from './local-assembly.ts';

const template: Template = {
  Parameters: { Stage: { Default: 'test' } },
  Resources: { Queue: { Type: 'AWS::SQS::Queue' } },
};
const resolve = resolver(template, (logicalId) => ({
  ref: `ref of ${logicalId}`,
  attributes: { Arn: `arn of ${logicalId}` },
}));

/** A variable as `Fn::Sub` writes it. */
const placeholder = (name: string) => `\${${name}}`;

describe('intrinsic functions', () => {
  test.each([
    [{ Ref: 'Queue' }, 'ref of Queue'],
    [{ Ref: 'AWS::Region' }, 'us-east-1'],
    [{ Ref: 'Stage' }, 'test'],
    [{ 'Fn::GetAtt': ['Queue', 'Arn'] }, 'arn of Queue'],
    [{ 'Fn::GetAtt': 'Queue.Arn' }, 'arn of Queue'],
    [{ 'Fn::Join': ['-', ['a', { Ref: 'Stage' }, 'b']] }, 'a-test-b'],
    [
      { 'Fn::Sub': ['Queue', 'Queue.Arn', 'AWS::AccountId'].map(placeholder).join(' ') },
      'ref of Queue arn of Queue 000000000000',
    ],
    [{ 'Fn::Sub': [placeholder('given'), { given: { Ref: 'Stage' } }] }, 'test'],
    [{ 'Fn::Sub': placeholder('!Queue') }, placeholder('Queue')],
    [{ 'Fn::Select': ['1', { 'Fn::Split': [':', 'a:b:c'] }] }, 'b'],
  ])('%j resolves to %j', (intrinsic, value) => {
    expect(resolve({ deep: [intrinsic] })).toEqual({ deep: [value] });
  });

  test('AWS::NoValue omits the property', () => {
    expect(resolve({ kept: 1, left: { Ref: 'AWS::NoValue' } })).toEqual({ kept: 1 });
  });

  test('names an unknown intrinsic function, reference or attribute', () => {
    expect(() => resolve({ 'Fn::ImportValue': 'x' })).toThrow('Fn::ImportValue');
    expect(() => resolve({ Ref: 'Nothing' })).toThrow('"Nothing"');
    expect(() => resolve({ 'Fn::GetAtt': ['Queue', 'Shape'] })).toThrow('"Shape" of Queue (AWS::SQS::Queue)');
  });
});

test('refuses a resource of an unknown type by name, before anything runs', async () => {
  const assembly = writeAssembly({ Cache: { Type: 'AWS::ElastiCache::ServerlessCache' } });
  await expect(run(assembly)).rejects.toThrow(/Cache: .*AWS::ElastiCache::ServerlessCache/);
});

test('refuses a schedule that is not a rate', async () => {
  const assembly = writeAssembly({
    Nightly: {
      Type: 'AWS::Scheduler::Schedule',
      Properties: { ScheduleExpression: 'cron(0 3 * * ? *)', Target: { Arn: 'x' } },
    },
  });
  await expect(run(assembly)).rejects.toThrow('cron(0 3 * * ? *)');
});
