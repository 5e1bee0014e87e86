/** That each export has a reader: one that no other file imports makes readers search for its use. */
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
const files = globSync('{functions,shared,infra,test}/**/*.ts', { cwd: root }).map((file) => ({
  file,
  text: readFileSync(join(root, file), 'utf8'),
}));

/** `handler` is read by Lambda, `environment` by `npm run deploy`, `defaultProvider` by bundles, in which that file replaces one of the AWS SDK; `bundleFunctions` by the package, where prebuilt.ts replaces bundle.ts. */
const readByName = ['handler', 'environment', 'defaultProvider', 'bundleFunctions'];

it('each export of functions, shared and infra is imported by another file', () => {
  const imported = new Set(files.flatMap(importsOf));
  const exported = files.filter(({ file }) => !file.startsWith('test/')).flatMap(exportsOf);
  expect(exported.length).toBeGreaterThan(300);
  const unused = exported.filter(
    ({ file, name }) =>
      !readByName.includes(name) && !imported.has(`${name} of ${file}`) && !imported.has(`* of ${file}`),
  );
  expect(unused.map(({ file, name }) => `${name} of ${file}`)).toEqual([]);
});

type File = (typeof files)[number];

function exportsOf({ file, text }: File): { file: string; name: string }[] {
  const declared =
    /^export (?:declare )?(?:async )?(?:abstract )?(?:function\*?|const|let|class|type|interface) (\w+)/gm;
  return [...text.matchAll(declared)].map(([, name = '']) => ({ file, name }));
}

/** What a file imports and exports again: `name of file`, with `*` for all names of a file. */
function importsOf({ file, text }: File): string[] {
  const of = (from: string): string => relative(root, join(root, dirname(file), from));
  const named = /^(?:import|export) (?:type )?{([^}]*)} from '(\.[^']+)'/gm;
  const whole = /(?:^(?:import|export) \*[^']*|import\()'(\.[^']+)'/gm;
  return [
    ...[...text.matchAll(named)].flatMap(([, names = '', from = '']) =>
      names
        .split(',')
        .map((name) => /^\s*(?:type )?(\w+)/.exec(name)?.[1])
        .filter((name) => name !== undefined)
        .map((name) => `${name} of ${of(from)}`),
    ),
    ...[...text.matchAll(whole)].map(([, from = '']) => `* of ${of(from)}`),
  ];
}
