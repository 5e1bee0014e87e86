import * as v from 'valibot';
import { emailAddress } from '../lib/schemas.ts';

// Google's documented limits: the API rejects what Google would reject, with a clear message.
const text = (maxLength: number) =>
  v.pipe(
    v.string('It must be text.'),
    v.minLength(1, 'It must not be empty.'),
    v.maxLength(maxLength, `It must not be longer than ${maxLength} characters.`),
  );
const flag = (description: string) =>
  v.optional(v.pipe(v.boolean('It must be true or false.'), v.description(description)));
const oneOf = <const Options extends readonly string[]>(description: string, options: Options) =>
  v.optional(
    v.pipe(v.picklist(options, `It must be one of ${options.join(', ')}.`), v.description(description)),
  );
const minutes = 'It must be a whole number from 0 to 40320.';
const webUrl = 'It must be an http or https URL.';

/** A guest with two entries is invited once, by the first one. */
function withoutRepeated<Guest extends { email: string }>(guests: Guest[]): Guest[] {
  const first = new Map<string, Guest>();
  for (const guest of guests) {
    const address = guest.email.toLowerCase();
    if (!first.has(address)) first.set(address, guest);
  }
  return [...first.values()];
}

/** The optional fields of an event, with Google's names. */
export const eventDetails = v.strictObject({
  attendees: v.optional(
    v.pipe(
      v.array(
        v.strictObject({
          email: emailAddress('It must be an e-mail address.'),
          displayName: v.optional(text(200)),
          optional: flag('Whether the guest need not attend.'),
        }),
        'It must be a list.',
      ),
      v.transform(withoutRepeated),
      v.maxLength(200, 'It must have at most 200 entries.'),
      v.description('Guests. Beyond 200, Google does not report their answers. A hold has none.'),
    ),
  ),
  guestsCanSeeOtherGuests: flag('Whether guests see each other; by default they do.'),
  guestsCanInviteOthers: flag('Whether guests may invite others; by default they may.'),
  guestsCanModify: flag('Whether guests may change the event; by default they may not.'),
  sendUpdates: oneOf('The guests that Google notifies of the event and its changes; `none` by default.', [
    'all',
    'externalOnly',
    'none',
  ]),
  meet: flag('Whether the event has a Google Meet link.'),
  reminders: v.optional(
    v.pipe(
      v.array(
        v.strictObject({
          method: v.picklist(['email', 'popup'], 'It must be one of email, popup.'),
          minutes: v.pipe(
            v.number(minutes),
            v.safeInteger(minutes),
            v.minValue(0, minutes),
            v.maxValue(40_320, minutes),
          ),
        }),
        'It must be a list.',
      ),
      v.maxLength(5, 'It must have at most 5 entries.'),
      v.description(
        "Reminders in place of the calendar's own, in minutes before the start; an empty list: none.",
      ),
    ),
  ),
  colorId: v.optional(
    v.pipe(
      v.string('It must be text.'),
      v.regex(/^([1-9]|1[01])$/, 'It must be "1" to "11".'),
      v.description("One of the calendar's eleven colours: `1` to `11`."),
    ),
  ),
  visibility: oneOf('The visibility of the event.', ['default', 'public', 'private', 'confidential']),
  transparency: oneOf('Whether the event blocks its time: `opaque`, the default, or not.', [
    'opaque',
    'transparent',
  ]),
  source: v.optional(
    v.pipe(
      v.strictObject({
        title: text(200),
        url: v.pipe(
          v.string(webUrl),
          v.trim(),
          v.check((url) => /^https?:\/\//i.test(url) && URL.canParse(url), webUrl),
          // URL parsers ignore these characters: without this, the host shown could differ from the host opened.
          v.transform((url) => url.replace(/[\t\n\r]/g, '')),
          v.maxLength(2000, 'It must not be longer than 2000 characters.'),
          v.metadata({ format: 'uri' }),
        ),
      }),
      v.description('The origin of the event: a link that its owner sees.'),
    ),
  ),
});
export type EventDetails = v.InferOutput<typeof eventDetails>;
