import { setLogSink } from '../../shared/lib/observability.ts';

/** Log of the code under test in this file, one JSON object per line. Tests read it; the terminal stays quiet. */
export const logged: string[] = [];
setLogSink((line) => logged.push(line));
