import { expect, expectTypeOf, it } from 'vitest';
import { omitUndefined } from '../../shared/lib/omit-undefined.ts';

it('undefined fields are left out, other empty values stay in their order', () => {
  const fields = omitUndefined({ id: 'a', gone: undefined, none: null, zero: 0, text: '', no: false });
  expect(Object.entries(fields)).toEqual([
    ['id', 'a'],
    ['none', null],
    ['zero', 0],
    ['text', ''],
    ['no', false],
  ]);
});

it('a field that may be undefined becomes an optional one of the type', () => {
  const count = (): number | undefined => 1;
  const fields = omitUndefined({ id: 'a', count: count() });
  expectTypeOf<Pick<typeof fields, 'id' | 'count'>>().toEqualTypeOf<{ id: string; count?: number }>();
  expect(fields).toEqual({ id: 'a', count: 1 });
});
