/** Whether `zone` is an IANA time zone, such as Europe/Berlin. */
export function isTimeZone(zone: string): boolean {
  try {
    // An offset such as +01:00 is accepted by Intl, but is no zone to Google.
    return new Intl.DateTimeFormat('en', { timeZone: zone }) !== undefined && /^[A-Za-z]/.test(zone);
  } catch {
    return false;
  }
}
