/** What a check of `ops doctor` says: one line for people. */
export type Result = { is: 'pass' | 'warning' | 'failure'; says: string };

export const pass = (says: string): Result => ({ is: 'pass', says });
export const warning = (says: string): Result => ({ is: 'warning', says });
export const failure = (says: string): Result => ({ is: 'failure', says });
