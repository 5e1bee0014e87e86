import * as z from 'zod/mini';

// Google's own limits, where it documents them; so that what it would refuse is refused here, and said clearly.
const text = (longest: number) => z.string().check(z.minLength(1), z.maxLength(longest));

/** What an event may carry beyond its words and times. The names are Google's. */
export const eventDetails = z.strictObject({
  /** Guests. Past 200, Google does not pass on their answers. */
  attendees: z.optional(
    z
      .array(
        z.strictObject({
          email: z.email('must be an e-mail address'),
          displayName: z.optional(text(200)),
          optional: z.optional(z.boolean()),
        }),
      )
      .check(z.maxLength(200)),
  ),
  /** Whom Google tells of the event and its changes. Nobody by default. */
  sendUpdates: z.optional(z.enum(['all', 'externalOnly', 'none'])),
  /** Whether the event has a Google Meet link. */
  meet: z.optional(z.boolean()),
  /** Reminders in place of the calendar's own; none where the list is empty. `minutes` before the start. */
  reminders: z.optional(
    z
      .array(
        z.strictObject({
          method: z.enum(['email', 'popup']),
          minutes: z.int().check(z.nonnegative(), z.maximum(40_320)),
        }),
      )
      .check(z.maxLength(5)),
  ),
  /** One of the calendar's eleven colours. */
  colorId: z.optional(z.string().check(z.regex(/^([1-9]|1[01])$/, 'must be "1" to "11"'))),
  visibility: z.optional(z.enum(['default', 'public', 'private', 'confidential'])),
  /** Whether the event blocks its time (`opaque`, the default) or not. */
  transparency: z.optional(z.enum(['opaque', 'transparent'])),
  /** Where the event comes from: a link that its owner sees. */
  source: z.optional(
    z.strictObject({
      title: text(200),
      url: z.url({ protocol: /^https?$/, error: 'must be an http or https URL' }).check(z.maxLength(2000)),
    }),
  ),
});
export type EventDetails = z.infer<typeof eventDetails>;
