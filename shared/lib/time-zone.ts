/**
 * Names that Intl accepts and IANA does not have: `SystemV/…`, and abbreviations such as PST or IST. The negative
 * lookahead lists the abbreviations that IANA has.
 */
const unknownToIana = /^(?:SystemV\/|(?!CET|EET|EST|GMT|HST|MET|MST|UCT|WET)[A-Z]{2}T$)/i;

/** Whether `zone` is an IANA name, in any letter case, that both Intl and Temporal accept. */
export function isTimeZone(zone: string): boolean {
  // Intl also accepts an offset such as +01:00, which is no zone.
  if (!/^[A-Za-z]/.test(zone) || unknownToIana.test(zone)) return false;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: zone }) !== undefined;
  } catch {
    return false;
  }
}
