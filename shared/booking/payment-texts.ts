import { omitUndefined } from '../lib/omit-undefined.ts';
import { type AppointmentFields, maxLengths } from './appointment.ts';
import type { Appointment, EventTime } from './booking.ts';

/**
 * What a payment says of its booking, as it says it. A booking that it does not make usable keeps it: for operators, who
 * may have it read again.
 */
export type PaymentTexts = Partial<Record<TextName, string>>;

/** The longest text of each field that can be used. */
const usableLengths = {
  bookingId: 128,
  userId: 128,
  ...maxLengths,
  start: 100,
  end: 100,
  timeZone: 100,
};
type TextName = keyof typeof usableLengths;

/** The texts of a payment's metadata. `names`: the provider's names of the fields that differ between providers. */
export function paymentTextsOf(
  texts: AppointmentFields,
  names: Partial<Record<TextName, string>>,
): PaymentTexts {
  return bounded((name) => texts[names[name] ?? name]);
}

/** The texts of an appointment that could be read. */
export function textsOfAppointment(appointment: Appointment): PaymentTexts {
  const { summary, location, description, start, end } = appointment;
  const timeZone = 'date' in start ? undefined : start.timeZone;
  const texts = { summary, location, description, start: textOf(start), end: textOf(end), timeZone };
  return bounded((name) => (texts as PaymentTexts)[name]);
}

/** Cut a character beyond what can be used, so that a text that was too long stays unusable. */
function bounded(textOfField: (name: TextName) => string | undefined): PaymentTexts {
  const names = Object.keys(usableLengths) as TextName[];
  const entries = names.map((name) => [name, textOfField(name)?.slice(0, usableLengths[name] + 1)]);
  return omitUndefined(Object.fromEntries(entries));
}

const textOf = (time: EventTime): string => ('date' in time ? time.date : time.dateTime);
