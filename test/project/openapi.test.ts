import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { openApi } from '../../infra/openapi.ts';
import { operations as table } from '../../infra/operations.ts';

const document = openApi();
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({
    key: `${method.toUpperCase()} ${path}`,
    operation,
  })),
);

test('docs/openapi.json matches the code; if not: npm run docs', () => {
  const written = readFileSync(join(import.meta.dirname, '../../docs/openapi.json'), 'utf8');
  expect(JSON.parse(written)).toEqual(JSON.parse(JSON.stringify(document)));
});

test('the OpenAPI operations without an option are exactly the routes of the stack', () => {
  const template = readFileSync(join(inject('assembly'), 'LeadsCalendarGoogle.template.json'), 'utf8');
  const resources = Object.values(JSON.parse(template).Resources) as {
    Type: string;
    Properties: { RouteKey?: string };
  }[];
  const routeKeys = resources
    .filter(({ Type }) => Type === 'AWS::ApiGatewayV2::Route')
    .map(({ Properties }) => Properties.RouteKey);
  const optional = table
    .filter(({ option }) => option !== undefined)
    .map(({ method, route }) => `${method} ${route}`);
  expect(operations.map(({ key }) => key).sort()).toEqual([...routeKeys, ...optional].sort());
});

test('every OpenAPI reference has a target, and every operation its own id', () => {
  const named = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(
    ([, id]) => id,
  );
  expect([...new Set(named)].sort()).toEqual(Object.keys(document.components.schemas).sort());
  const ids = operations.map(({ operation }) => operation.operationId);
  expect(new Set(ids).size).toBe(ids.length);
});

test('a patch can remove exactly the optional fields', () => {
  const { BookingPatch, BookingRequest } = document.components.schemas as Record<
    string,
    { properties: Record<string, { anyOf?: unknown[] }>; required?: string[] }
  >;
  expect(BookingPatch?.required).toBeUndefined();
  const fixed = Object.entries(BookingPatch?.properties ?? {}).filter(([, { anyOf }]) => !anyOf);
  expect(fixed.map(([name]) => name)).toEqual(BookingRequest?.required);
});
