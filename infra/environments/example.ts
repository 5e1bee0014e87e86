import type { EnvironmentFile } from '../environment.ts';

/** Copy this file to staging.ts or production.ts, and fill in your own account. Options: docs/configuration.md. */
export const environment = {
  stackName: 'LeadsCalendarGoogle-example',
  account: '111122223333',
  region: 'eu-central-1',
  production: false,
  tags: { service: 'leadscalendar-google', environment: 'example' },
  options: {
    stripeMode: 'test',
    optionalScopes: ['calendar-list', 'free-busy'],
    onConflict: 'flag',
  },
} satisfies EnvironmentFile;
