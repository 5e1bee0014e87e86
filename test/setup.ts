import { logTo } from '../shared/observability.ts';

/** What the code under test has logged in this file, a JSON object a line. Tests read it; the terminal stays quiet. */
export const logged: string[] = [];
logTo((line) => logged.push(line));
