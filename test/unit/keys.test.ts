import { describe, expect, it } from 'vitest';
import {
  propagationSeconds,
  retire,
  rotate,
  rotationLeadSeconds,
  viewKeys,
} from '../../infra/cli/keys-rotation.ts';
import { secretTtlSeconds } from '../../shared/aws/secrets.ts';
import { parseKeys } from '../../shared/crypto/keys.ts';
import { stateLifetimeSeconds } from '../../shared/crypto/oauth-state.ts';
import { maxLifetimeSeconds } from '../../shared/crypto/user-token.ts';
import { type KeyPurpose, keySecrets } from '../../shared/lib/names.ts';

const day = '2026-11-23';
const now = Date.parse(`${day}T06:00:00Z`) / 1000;
const key = (letter: string) => letter.repeat(64);
const initial = JSON.stringify({ current: 'initial', initial: key('a') });
const newKey = () => key('n');
const purposes = Object.keys(keySecrets) as KeyPurpose[];

describe.each(purposes)('rotation of %s', (purpose) => {
  it('a rotation keeps the old key current until every function has read the secret again', () => {
    const { text, id, previous, from } = rotate(purpose, initial, now, newKey);
    expect([id, previous]).toEqual([day, 'initial']);
    expect(from - now).toBeGreaterThan(secretTtlSeconds);
    const keys = parseKeys(purpose, text);
    expect([now, from - 1, from].map(keys.current)).toEqual(['initial', 'initial', day]);
    expect(keys.ids).toEqual(['initial', day]);
    expect(JSON.parse(text)).toMatchObject({ initial: key('a'), [day]: key('n') });
  });

  it('an emergency rotation uses the new key at once', () => {
    const { text, from } = rotate(purpose, initial, now, newKey, { atOnce: true });
    expect(from).toBe(now);
    expect(parseKeys(purpose, text).current(now)).toBe(day);
  });

  it('refuses a rotation before the previous one is in force, except in an emergency', () => {
    const { text, from } = rotate(purpose, initial, now, newKey);
    expect(() => rotate(purpose, text, from - 1, newKey)).toThrow(/comes into use at 2026-11-23T06:06:00Z/);
    const emergency = rotate(purpose, text, from - 1, newKey, { atOnce: true });
    expect(emergency).toMatchObject({ id: `${day}b`, previous: 'initial' });
    expect(parseKeys(purpose, emergency.text).current(from - 1)).toBe(`${day}b`);
  });

  it("a second rotation makes the first one's key current once it is in force", () => {
    const first = rotate(purpose, initial, now, newKey);
    const second = rotate(purpose, first.text, first.from, newKey);
    expect(JSON.parse(second.text)).toMatchObject({
      current: day,
      next: { id: `${day}b`, from: second.from },
    });
    expect(parseKeys(purpose, second.text).current(first.from)).toBe(day);
    expect(second.previous).toBe(day);
  });

  it('a rotation never reuses a key id of the same day', () => {
    const other = JSON.stringify({ current: `${day}c`, [`${day}c`]: key('c') });
    expect(rotate(purpose, other, now, newKey).id).toBe(`${day}d`);
    const last = JSON.stringify({ current: `${day}z`, [`${day}z`]: key('z') });
    expect(() => rotate(purpose, last, now, newKey)).toThrow(/tomorrow/);
  });

  it('refuses to rotate an invalid value, without quoting it', () => {
    const broken = JSON.stringify({ current: 'gone', initial: key('a') });
    expect(() => rotate(purpose, broken, now, newKey)).toThrow(/"current" must name/);
    expect(() => rotate(purpose, broken, now, newKey)).not.toThrow(/aaaa/);
  });

  it('a rotation keeps the purpose in the value and refuses keys of another purpose', () => {
    const named = JSON.stringify({ purpose, current: 'initial', initial: key('a') });
    const { text, propagatedAt } = rotate(purpose, named, now, newKey);
    expect(JSON.parse(text)).toMatchObject({ purpose });
    expect(JSON.parse(retire(purpose, text, 'initial', propagatedAt))).toMatchObject({ purpose });
    for (const other of purposes.filter((each) => each !== purpose)) {
      expect(() => rotate(other, text, now, newKey)).toThrow(/keys of another purpose/);
      expect(() => retire(other, text, 'initial', propagatedAt)).toThrow(/keys of another purpose/);
    }
  });

  it('shows the use of each key before and after a rotation is in force', () => {
    const { text, from } = rotate(purpose, initial, now, newKey);
    expect(viewKeys(purpose, text, from - 1)).toEqual([
      { id: 'initial', use: 'current' },
      { id: day, use: 'next', from },
    ]);
    expect(viewKeys(purpose, text, from)).toEqual([
      { id: 'initial', use: 'old' },
      { id: day, use: 'current' },
    ]);
  });
});

describe.each(purposes)('retiring a key of %s', (purpose) => {
  const { text, from, propagatedAt } = rotate(purpose, initial, now, newKey);

  it('retires a key once nothing outside the tables needs it', () => {
    expect(propagatedAt).toBe(from + propagationSeconds[purpose]);
    expect(() => retire(purpose, text, 'initial', propagatedAt - 1)).toThrow(/with older keys until 20/);
    const retired = retire(purpose, text, 'initial', propagatedAt);
    expect(Object.keys(JSON.parse(retired)).sort()).toEqual([day, 'current', 'next']);
    expect(parseKeys(purpose, retired).ids).toEqual([day]);
    expect(parseKeys(purpose, retired).current(propagatedAt)).toBe(day);
  });

  it.each([
    ['unknown', 'other', propagatedAt, /The keys are initial, 2026-11-23/],
    ['current', 'initial', from - 1, /"initial" is the current one/],
    ['the next one', day, from - 1, /comes into use at/],
    ['the current one since the rotation', day, propagatedAt, /is the current one/],
  ])('refuses to retire a key that is %s', (_, id, at, message) => {
    expect(() => retire(purpose, text, id, at)).toThrow(message);
  });

  it('refuses to retire any old key until the last rotation has settled', () => {
    const second = rotate(purpose, text, from, newKey);
    expect(() => retire(purpose, second.text, 'initial', from + 1)).toThrow(/until/);
    const third = retire(purpose, second.text, 'initial', second.propagatedAt);
    const last = retire(purpose, third, day, second.propagatedAt);
    expect(parseKeys(purpose, last).ids).toEqual([`${day}b`]);
  });

  it('an emergency retirement waits only for copies cached by functions', () => {
    const emergency = rotate(purpose, initial, now, newKey, { atOnce: true });
    expect(() => retire(purpose, emergency.text, 'initial', now + secretTtlSeconds)).toThrow(/until/);
    const early = () => retire(purpose, emergency.text, 'initial', now + secretTtlSeconds, { atOnce: true });
    expect(early).toThrow(/functions use copies/);
    const retired = retire(purpose, emergency.text, 'initial', now + rotationLeadSeconds, { atOnce: true });
    expect(parseKeys(purpose, retired).ids).toEqual([day]);
  });
});

describe('lifetime of results of an old key', () => {
  it('a key keeps its remaining time after another key was retired in an emergency', () => {
    const first = rotate('payment-messages', initial, now, newKey);
    const second = rotate('payment-messages', first.text, first.from, newKey, { atOnce: true });
    const soon = second.from + rotationLeadSeconds;
    const withoutLeaked = retire('payment-messages', second.text, 'initial', soon, { atOnce: true });
    expect(() => retire('payment-messages', withoutLeaked, day, soon)).toThrow(/dead-letter queue/);
  });

  it.each<[KeyPurpose, number]>([
    ['state-encryption', stateLifetimeSeconds],
    ['link-signing', maxLifetimeSeconds],
    ['api-signing', maxLifetimeSeconds],
    ['payment-messages', 28 * 86_400],
  ])('a key of %s is kept longer than anything made with it lives', (purpose, lifetime) => {
    // Made at the end of the time for which a function caches its copy of the secret.
    expect(propagationSeconds[purpose]).toBeGreaterThanOrEqual(secretTtlSeconds + lifetime);
  });
});
