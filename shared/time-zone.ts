/**
 * Names that only ICU knows: `SystemV/…`, and abbreviations such as PST or IST, which Intl accepts while Temporal and
 * the IANA database do not. Excluded are the abbreviations that IANA has.
 */
const unknownToIana = /^(?:SystemV\/|(?!CET|EET|EST|GMT|HST|MET|MST|UCT|WET)[A-Z]{2}T$)/i;

/** Whether `zone` is a name of the IANA database, in any letter case, that Intl and Temporal both accept. */
export function isTimeZone(zone: string): boolean {
  // An offset such as +01:00 is accepted by Intl, but it is not the name of a zone.
  if (!/^[A-Za-z]/.test(zone) || unknownToIana.test(zone)) return false;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: zone }) !== undefined;
  } catch {
    return false;
  }
}
