import { describe, expect, it } from 'vitest';
import { retire, rotate, rotationLead, settlingTime, viewKeys } from '../../infra/keys-rotation.ts';
import { secretTimeToLive } from '../../shared/secrets.ts';
import { parseTokenKeys } from '../../shared/token-keys.ts';

const day = '2026-11-23';
const now = Date.parse(`${day}T06:00:00Z`) / 1000;
const key = (letter: string) => letter.repeat(64);
const initial = JSON.stringify({ current: 'initial', initial: key('a') });
const newKey = () => key('n');

describe('a rotation', () => {
  it('leaves the current key current until every function has read the secret again', () => {
    const { text, id, previous, from } = rotate(initial, now, newKey);
    expect([id, previous]).toEqual([day, 'initial']);
    expect(from - now).toBeGreaterThan(secretTimeToLive);
    const keys = parseTokenKeys(text);
    expect([now, from - 1, from].map(keys.current)).toEqual(['initial', 'initial', day]);
    expect(keys.ids).toEqual(['initial', day]);
    expect(JSON.parse(text)).toMatchObject({ initial: key('a'), [day]: key('n') });
  });

  it('in an emergency is in force at once', () => {
    const { text, from } = rotate(initial, now, newKey, { atOnce: true });
    expect(from).toBe(now);
    expect(parseTokenKeys(text).current(now)).toBe(day);
  });

  it('is refused while another one is not in force yet, unless this is an emergency', () => {
    const { text, from } = rotate(initial, now, newKey);
    expect(() => rotate(text, from - 1, newKey)).toThrow(/comes into use at 2026-11-23T06:06:00Z/);
    const emergency = rotate(text, from - 1, newKey, { atOnce: true });
    expect(emergency).toMatchObject({ id: `${day}b`, previous: 'initial' });
    expect(parseTokenKeys(emergency.text).current(from - 1)).toBe(`${day}b`);
  });

  it('makes the key of the one before, once in force, plainly current', () => {
    const first = rotate(initial, now, newKey);
    const second = rotate(first.text, first.from, newKey);
    expect(JSON.parse(second.text)).toMatchObject({
      current: day,
      next: { id: `${day}b`, from: second.from },
    });
    expect(parseTokenKeys(second.text).current(first.from)).toBe(day);
    expect(second.previous).toBe(day);
  });

  it('never takes an id that was there before on the same day', () => {
    const other = JSON.stringify({ current: `${day}c`, [`${day}c`]: key('c') });
    expect(rotate(other, now, newKey).id).toBe(`${day}d`);
    const last = JSON.stringify({ current: `${day}z`, [`${day}z`]: key('z') });
    expect(() => rotate(last, now, newKey)).toThrow(/tomorrow/);
  });

  it('of a value that cannot be used is refused without quoting it', () => {
    const broken = JSON.stringify({ current: 'gone', initial: key('a') });
    expect(() => rotate(broken, now, newKey)).toThrow(/"current" must name/);
    expect(() => rotate(broken, now, newKey)).not.toThrow(/aaaa/);
  });
});

describe('a view of the keys', () => {
  it('tells what each is for, before and after a rotation is in force', () => {
    const { text, from } = rotate(initial, now, newKey);
    expect(viewKeys(text, from - 1)).toEqual([
      { id: 'initial', use: 'current' },
      { id: day, use: 'next', from },
    ]);
    expect(viewKeys(text, from)).toEqual([
      { id: 'initial', use: 'old' },
      { id: day, use: 'current' },
    ]);
  });
});

describe('a key', () => {
  const { text, from, settledAt } = rotate(initial, now, newKey);

  it('is retired when links and states made with it are over', () => {
    expect(settledAt).toBe(from + settlingTime);
    const retired = retire(text, 'initial', settledAt);
    expect(JSON.parse(retired)).toEqual({ current: day, [day]: key('n') });
    expect(parseTokenKeys(retired).current(settledAt)).toBe(day);
  });

  it.each([
    ['unknown', 'other', settledAt, /The keys are initial, 2026-11-23/],
    ['current', 'initial', from - 1, /"initial" is the current one/],
    ['the next one', day, from - 1, /comes into use at/],
    ['the current one by now', day, settledAt, /is the current one/],
    [
      'needed by links and states',
      'initial',
      settledAt - 1,
      /under way with older keys until 2026-11-23T06:32:00Z/,
    ],
  ])('is not retired where it is %s', (_, id, at, message) => {
    expect(() => retire(text, id, at)).toThrow(message);
  });

  it('older than the last rotation is not retired before the keys have settled either', () => {
    const second = rotate(text, from, newKey);
    expect(() => retire(second.text, 'initial', from + 1)).toThrow(/until/);
    const third = retire(second.text, 'initial', second.settledAt);
    expect(JSON.parse(retire(third, day, second.settledAt))).toEqual({
      current: `${day}b`,
      [`${day}b`]: key('n'),
    });
  });

  it('after an emergency stays for as long as a function may still go on with it', () => {
    const emergency = rotate(initial, now, newKey, { atOnce: true });
    expect(() => retire(emergency.text, 'initial', now + secretTimeToLive)).toThrow(/until/);
    expect(() => retire(emergency.text, 'initial', now + secretTimeToLive, { atOnce: true })).toThrow(
      /seal tokens/,
    );
    const retired = retire(emergency.text, 'initial', now + rotationLead, { atOnce: true });
    expect(parseTokenKeys(retired).ids).toEqual([day]);
  });
});
